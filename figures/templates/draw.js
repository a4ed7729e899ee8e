"use strict";
(() => {
  const phone = window.matchMedia("(pointer: coarse)").matches;
  const config = {
    responsive: true,
    displaylogo: false,
    displayModeBar: phone ? false : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg" },
  };
  const plots = [...document.querySelectorAll("[data-plot]")];

  const draw = (plot) => {
    const spec = JSON.parse(document.getElementById(plot.dataset.plot).textContent);
    // On touch screens a drag must scroll the page, not zoom the plot.
    if (phone) spec.layout.dragmode = false;
    config.toImageButtonOptions.filename = plot.id;
    return Plotly.newPlot(plot, spec.data, spec.layout, config).then(() => plot.classList.add("drawn"));
  };

  // One plot per task, so that the page can be read and scrolled while they are drawn.
  const next = (index) => {
    if (index === plots.length) {
      document.documentElement.dataset.drawn = String(plots.length);
      return;
    }
    draw(plots[index]).then(() => setTimeout(next, 0, index + 1));
  };
  next(0);

  // Paper is narrower than the screen, and nothing on it can be unfolded.
  const folded = () => document.querySelectorAll("details:not([open])");
  let unfolded = [];
  window.addEventListener("beforeprint", () => {
    unfolded = [...folded()];
    unfolded.forEach((part) => { part.open = true; });
    plots.forEach((plot) => Plotly.relayout(plot, { width: 680 }));
  });
  window.addEventListener("afterprint", () => {
    unfolded.forEach((part) => { part.open = false; });
    plots.forEach((plot) => Plotly.relayout(plot, { width: null, autosize: true }));
  });
})();
