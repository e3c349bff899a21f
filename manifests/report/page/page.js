"use strict";
// Shows the clips of the gallery that match all four choices.
const form = document.querySelector("#filter");
const cards = [...document.querySelectorAll(".gallery li")];
const shown = document.querySelector("#shown");
const plain = (text) => text.normalize("NFKD").replace(/\p{Mn}/gu, "").toLowerCase();
const texts = cards.map((card) => plain(card.querySelector(".text").textContent));

function update() {
  const words = plain(form.words.value).split(/\s+/).filter(Boolean);
  let count = 0;
  cards.forEach((card, index) => {
    const fits =
      (!form.language.value || card.dataset.language === form.language.value) &&
      (!form.verdict.value || card.dataset.verdict === form.verdict.value) &&
      (!form.reason.value || card.dataset.reasons.split(" ").includes(form.reason.value)) &&
      words.every((word) => texts[index].includes(word));
    card.hidden = !fits;
    count += fits;
  });
  shown.textContent = `${count} of ${cards.length} clips shown`;
}
if (form) {
  form.addEventListener("input", update);
  form.addEventListener("reset", () => setTimeout(update));
  form.addEventListener("submit", (event) => event.preventDefault());
  update();
}
