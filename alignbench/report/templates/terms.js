// What a metric means, on hover, focus and touch; Escape puts it away.
{
  const tip = document.getElementById("tip");
  let owner = null, leaving = 0;
  const hide = () => { tip.classList.remove("shown"); owner = null; };
  const later = () => { leaving = setTimeout(hide, 200); };  // time to move onto the text itself
  const show = (term) => {
    clearTimeout(leaving);
    owner = term;
    tip.textContent = document.getElementById(`meaning-${term.dataset.term}`).textContent;
    tip.classList.add("shown");
    const at = term.getBoundingClientRect(), size = tip.getBoundingClientRect();
    const below = at.bottom + 6 + size.height <= innerHeight || at.top < size.height + 6;
    tip.style.left = `${Math.max(8, Math.min(at.left, innerWidth - size.width - 8))}px`;
    tip.style.top = `${below ? at.bottom + 6 : at.top - size.height - 6}px`;
  };
  for (const span of document.querySelectorAll(".term")) {
    if (!document.getElementById(`meaning-${span.dataset.term}`)) continue;
    const term = make("button", { type: "button", class: "term", "data-term": span.dataset.term,
      "aria-describedby": `meaning-${span.dataset.term}` }, span.textContent);
    span.replaceWith(term);
    term.addEventListener("mouseenter", () => show(term));
    term.addEventListener("mouseleave", later);
    term.addEventListener("focus", () => show(term));
    term.addEventListener("click", () => show(term));  // Safari does not focus what is tapped
    term.addEventListener("blur", hide);
  }
  tip.addEventListener("mouseenter", () => clearTimeout(leaving));
  tip.addEventListener("mouseleave", later);
  addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  addEventListener("scroll", () => { if (owner) show(owner); }, { passive: true, capture: true });
}
