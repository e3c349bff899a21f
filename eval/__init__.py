"""Metrics of predicted motion, rendering and lip reading.

Motion      catalog (motion, dynamics, lip_trajectory: the metrics; compiled, vertex_loops, alignment: their
            loops), regions, vertex_files, ground_truth, clip_measures, evaluate_motion, pooling,
            motion_tables, error_plot, baselines, generation
Rendering   camera, render, video, talking_video
Lip reading av_hubert, speech_decoder, beam_search, lip_reader (the recogniser); mouth, filterbank (its
inputs);
            lip_reading, noise, error_rates, lip_reading_tables (the protocol); parity (against the
            original)
"""
