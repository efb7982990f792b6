// Charts become interactive when they come into view; the static picture stays for printing.
{
  const config = JSON.parse(document.getElementById("chart-config").textContent);
  const views = new Set();
  const hide = (view) => {
    if (view.signal("hidden")) view.signal("hidden", [...shownModels.hidden]).runAsync();
  };
  const upgrade = async (figure) => {
    const spec = JSON.parse(figure.querySelector("script").textContent);
    const still = figure.querySelector(".static");
    const live = make("div",
      { class: "live", role: "img", "aria-label": still.getAttribute("aria-label") });
    spec.width = Math.min(spec.width, figure.clientWidth || spec.width);
    const legend = { ...config.legend, columns: Math.max(2, Math.floor(spec.width / 110)) };
    figure.append(live);
    try {
      // An interpreter in place of generated code: the page's policy forbids eval.
      const { view } = await vegaEmbed(live, spec, { mode: "vega-lite", ast: true, renderer: "svg",
        actions: false, config: { ...config, legend }, defaultStyle: false, tooltip: { disableDefaultStyle: true } });
      live.querySelector("svg").setAttribute("aria-hidden", "true");  // the label says it all
      const known = view.getState({ signals: (name) => name === "hidden", data: () => false });
      if ("hidden" in known.signals) {
        views.add(view);
        hide(view);
      }
      figure.classList.add("upgraded");
    } catch (error) {
      live.remove();  // the static picture is still there
      console.error(error);
    }
  };
  const observer = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      upgrade(target);
    }
  }, { rootMargin: "150px" });
  document.querySelectorAll("figure.chart").forEach((figure) => observer.observe(figure));
  shownModels.listeners.push(() => views.forEach(hide));
}
