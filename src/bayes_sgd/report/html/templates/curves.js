// Accuracy against batch size, and the best batch size along the axis: drawn by Plotly when they come near the window.
whenNear([document.getElementById("curves")], async () => {
  const script = document.createElement("script");
  script.textContent = await unpacked("plotly");
  document.head.append(script);
  const experiments = JSON.parse(await unpacked("packed-curves"));
  const form = document.getElementById("curve-choice");
  const phases = document.getElementById("phases");
  // viridis, from dark to light
  const COLORS = ["#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725"];
  const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "cross", "x", "pentagon", "triangle-left", "star", "triangle-right"];
  const dark = () => matchMedia("(prefers-color-scheme: dark)").matches;
  const color = (i, n) => {
    const share = n > 1 ? i / (n - 1) : 0.3;
    return COLORS[Math.round((dark() ? 0.25 + 0.75 * share : 0.85 * share) * (COLORS.length - 1))];
  };
  const style = (variable) => {
    const probe = document.body.appendChild(document.createElement("span"));
    probe.style.color = `var(${variable})`;
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const range = (low, high) => `[${low?.toPrecision(4) ?? "unbounded"}, ${high?.toPrecision(4) ?? "unbounded"}]`;
  const bars = (values, low, high) => ({
    type: "data", symmetric: false, thickness: 1, width: 3,
    array: values.map((value, i) => (high[i] ?? value) - value),
    arrayminus: values.map((value, i) => value - (low[i] ?? value)),
  });
  // 1, 2, 5, 10, ... in plain numbers
  const decades = [...Array(13).keys()].flatMap((k) => [1, 2, 5].map((digit) => Number(`${digit}e${k - 5}`)));
  const log = { type: "log", tickvals: decades, ticktext: decades.map(String), minor: { showgrid: false } };
  const layout = (x, y, more) => {
    const axis = { gridcolor: style("--line"), linecolor: style("--soft"), zeroline: false, automargin: true };
    return {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", font: { color: style("--ink"), size: 12 },
      margin: { l: 50, r: 10, t: 10, b: 40 }, dragmode: false, hovermode: "closest",
      legend: { orientation: "h", yref: "container", yanchor: "bottom", y: 0 },
      xaxis: { ...axis, ...log, title: { text: x } }, yaxis: { ...axis, title: { text: y }, ...more },
    };
  };
  const settings = { responsive: true, displayModeBar: false };

  const accuracy = (phase, full) => {
    const traces = phase.series.map((series, i) => ({
      name: series.name, x: series.batch_size, y: series.accuracy, mode: "lines+markers",
      line: { width: 1.5, color: color(i, phase.series.length) }, marker: { size: 7, symbol: SYMBOLS[i % SYMBOLS.length] },
      error_y: bars(series.accuracy, series.low, series.high),
      text: series.batch_size.map((size, k) =>
        `B ${size}, ${series.name}<br>accuracy ${series.accuracy[k]?.toFixed(2)} % ${range(series.low[k], series.high[k])}` +
        `<br>${series.seeds[k]} seeds, ${series.failed[k]} failed<br>after ${series.updates} updates, ${phase.words}`),
      hoverinfo: "text",
    }));
    const tops = phase.series.map((series) => Math.max(...series.accuracy.filter((value) => value !== null)));
    const around = [Math.max(0, Math.min(...tops) - 6), Math.min(100.5, Math.max(...tops) + 1)];
    const more = { range: full ? [0, 101] : around };
    Plotly.react("curve-accuracy", traces, layout("batch size B", "test accuracy (%)", more), settings);
  };

  const optimum = (experiment, phase) => {
    const inside = phase.optima.filter((point) => point.b !== null);
    const text = (point) =>
      `${experiment.axis.replaceAll("_", " ")} ${point.value}<br>` +
      (point.b === null ? `censored ${point.side}, best sampled B ${point.best ?? "none"}` : `best B ${point.b.toPrecision(4)} ${range(point.low, point.high)}`) +
      `<br>${point.seeds} seeds<br>after ${point.updates} updates, ${phase.words}`;
    const ink = style("--ink");
    const traces = [{
      name: "cubic fit", x: inside.map((point) => point.x), y: inside.map((point) => point.b), mode: "markers",
      marker: { size: 9, color: ink },
      error_y: bars(inside.map((point) => point.b), inside.map((point) => point.low), inside.map((point) => point.high)),
      text: inside.map(text), hoverinfo: "text",
    }];
    if (inside.length > 1) {
      const mean = (values) => Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
      const [x, b] = [mean(inside.map((point) => point.x)), mean(inside.map((point) => point.b))];
      const ends = [Math.min(...inside.map((point) => point.x)), Math.max(...inside.map((point) => point.x))];
      traces.push({ name: "slope 1", x: ends, y: ends.map((end) => (b * end) / x), mode: "lines", line: { dash: "dash", color: style("--soft") }, hoverinfo: "skip" });
    }
    for (const [side, symbol] of [["above", "triangle-up-open"], ["below", "triangle-down-open"]]) {
      const points = phase.optima.filter((point) => point.b === null && point.side === side && point.best !== null);
      if (points.length) {
        traces.push({ name: `censored ${side}`, x: points.map((point) => point.x), y: points.map((point) => point.best), mode: "markers", marker: { size: 11, symbol, color: ink }, text: points.map(text), hoverinfo: "text" });
      }
    }
    Plotly.react("curve-optimum", traces, layout(experiment.variable, "best batch size B", log), settings);
  };

  const draw = () => {
    const experiment = experiments[form.experiment.value];
    const phase = experiment.phases[new FormData(form).get("phase") ?? 0];
    const exponent = phase.exponent ? ` Exponent of the best batch size in ${experiment.variable}: ${phase.exponent}.` : "";
    document.getElementById("curve-words").textContent = `Cells: ${phase.cell || "as the table says"}; ${phase.words}.${exponent}`;
    accuracy(phase, form.full.checked);
    optimum(experiment, phase);
  };
  const offerPhases = () => {
    const labels = experiments[form.experiment.value].phases.map((phase, i) => {
      const label = document.createElement("label");
      const input = Object.assign(document.createElement("input"), { type: "radio", name: "phase", value: i });
      input.defaultChecked = i === 0;
      label.append(input, ` ${phase.words}`);
      return label;
    });
    phases.replaceChildren(...labels);
  };
  form.experiment.addEventListener("change", offerPhases);
  form.addEventListener("change", draw);
  form.addEventListener("submit", (event) => event.preventDefault());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  offerPhases();
  draw();
});
