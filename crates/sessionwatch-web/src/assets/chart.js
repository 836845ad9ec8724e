// Replaces the drawings of charts by charts with hover and zoom. The data is beside each drawing.
"use strict";
(() => {
  // Every chart of a page asks for this script.
  if (window.chartsAreBuilt) return;
  window.chartsAreBuilt = true;
  const LINE_HEIGHT = 250;
  const LINE_HEIGHT_ABOVE_BARS = 330;
  const BAR_HEIGHT = 110;
  const number = (value) =>
    value == null ? "unknown" : value.toLocaleString("en-US", { maximumFractionDigits: value < 100 ? 2 : 0 });
  const time = (seconds) =>
    new Date(seconds * 1000).toLocaleString("en-US", {
      weekday: "short",
      month: "short",
      day: "numeric",
      hour: "2-digit",
      minute: "2-digit",
      hourCycle: "h23",
      timeZone: "UTC",
    });
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  // Custom properties with light-dark() are resolved only where a color is used.
  const color = (name) => {
    const probe = document.createElement("span");
    probe.style.color = `var(${name})`;
    document.body.append(probe);
    const resolved = getComputedStyle(probe).color;
    probe.remove();
    return resolved;
  };
  const font = () => `500 11px ${style("--font")}`;
  const charts = new Map();

  // Hours and minutes within a day, otherwise days, like the drawings.
  const tickLabels = (_, ticks, __, ___, step) =>
    ticks.map((tick) => {
      const at = new Date(tick * 1000);
      const part =
        step < 86400 && (step < 43200 || at.getUTCHours() !== 0)
          ? { hour: "2-digit", minute: "2-digit", hourCycle: "h23" }
          : { month: "short", day: "numeric" };
      return at.toLocaleString("en-US", { ...part, timeZone: "UTC" });
    });

  const axes = () => {
    const common = {
      stroke: color("--text-muted"),
      font: font(),
      ticks: { show: false },
      grid: { stroke: color("--chart-grid"), width: 1 },
    };
    return [
      { ...common, grid: { show: false }, values: tickLabels, space: 72, size: 28 },
      {
        ...common,
        size: 48,
        values: (_, ticks) => ticks.map((tick) => (tick >= 1000 ? `${tick / 1000}k` : String(tick))),
      },
    ];
  };

  // Firing periods, limits and markers, drawn below the line.
  const drawBackground = (data) => (plot) => {
    const { ctx, bbox } = plot;
    const x = (seconds) => plot.valToPos(seconds, "x", true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = color("--chart-firing");
    for (const [from, to] of data.firing)
      ctx.fillRect(x(from), bbox.top, Math.max(2, x(to) - x(from)), bbox.height);
    ctx.setLineDash([4, 4]);
    ctx.lineWidth = devicePixelRatio;
    ctx.font = `500 ${11 * devicePixelRatio}px ${style("--font")}`;
    for (const limit of data.limits) {
      const y = plot.valToPos(limit.value, "y", true);
      if (y < bbox.top) continue;
      ctx.strokeStyle = color("--neutral-9");
      ctx.beginPath();
      ctx.moveTo(bbox.left, y);
      ctx.lineTo(bbox.left + bbox.width, y);
      ctx.stroke();
      ctx.fillStyle = color("--text-muted");
      ctx.fillText(
        `${limit.label} ${number(limit.value)}`,
        bbox.left + 4 * devicePixelRatio,
        // Above the line, unless the edge of the chart would cut the text.
        y + (y - bbox.top < 16 * devicePixelRatio ? 13 : -5) * devicePixelRatio,
      );
    }
    ctx.strokeStyle = color("--neutral-8");
    for (const marker of data.markers) {
      ctx.beginPath();
      ctx.moveTo(x(marker.at), bbox.top);
      ctx.lineTo(x(marker.at), bbox.top + bbox.height);
      ctx.stroke();
    }
    ctx.restore();
  };

  const showTip = (place, plots, data) => (plot) => {
    let tip = place.querySelector(".tip");
    const { idx, left } = plot.cursor;
    if (idx == null || left < 0) {
      tip?.remove();
      return;
    }
    if (!tip) {
      tip = document.createElement("div");
      tip.className = "tip chart-tip";
      place.append(tip);
    }
    const at = plot.data[0][idx];
    const rows = plots().map((one) => {
      const index = one === plot ? idx : one.valToIdx(at);
      return [one.series[1].label, number(one.data[1][index])];
    });
    for (const marker of data.markers) {
      if (Math.abs(marker.at - at) <= (data.to - data.from) / 100) rows.push([marker.label, ""]);
    }
    const title = document.createElement("b");
    title.textContent = `${time(at)} UTC`;
    const list = document.createElement("dl");
    for (const [name, value] of rows) {
      const dt = document.createElement("dt");
      const dd = document.createElement("dd");
      dt.textContent = name;
      dd.textContent = value;
      list.append(dt, dd);
    }
    tip.replaceChildren(title, list);
    const offset = plot.bbox.left / devicePixelRatio + left;
    tip.style.left = `${offset > place.clientWidth / 2 ? offset - tip.offsetWidth - 12 : offset + 12}px`;
  };

  const build = (figure) => {
    const data = JSON.parse(figure.querySelector('script[type="application/json"]').textContent);
    const place = document.createElement("div");
    place.className = "chart-live";
    const key = `chart-${charts.size}`;
    const plots = [];
    const common = (height) => ({
      width: figure.clientWidth - 32,
      height,
      legend: { show: false },
      scales: {
        x: { min: data.from, max: data.to, time: true },
        y: { range: (_, low, high) => [0, Math.max(1, high * 1.08)] },
      },
      tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
      axes: axes(),
      cursor: {
        sync: { key },
        y: false,
        points: { size: 8, fill: color("--chart-line") },
        drag: { x: true, y: false },
      },
    });
    const hooks = { drawClear: [drawBackground(data)], setCursor: [showTip(place, () => plots, data)] };
    const limits = data.limits.filter(
      (limit) => limit.value <= 3 * Math.max(1, ...data.values.map((value) => value ?? 0)),
    );
    const line = {
      ...common(data.bars ? LINE_HEIGHT_ABOVE_BARS : LINE_HEIGHT),
      hooks,
      series: [
        {},
        {
          label: data.label,
          stroke: color("--chart-line"),
          width: 1.75,
          points: { show: false },
          spanGaps: false,
          fill: color("--chart-line").replace("rgb(", "rgba(").replace(")", ", 0.1)"),
        },
      ],
    };
    line.scales.y.range = (_, low, high) => [
      0,
      Math.max(1, high * 1.08, ...limits.map((limit) => limit.value * 1.05)),
    ];
    figure.querySelectorAll("svg").forEach((svg) => svg.remove());
    figure.append(place);
    plots.push(new uPlot(line, [data.times, data.values], place));
    if (data.bars) {
      const label = document.createElement("p");
      label.className = "chart-pane";
      label.textContent = data.bars.label;
      place.append(label);
      const bars = {
        ...common(BAR_HEIGHT),
        hooks: { setCursor: hooks.setCursor },
        series: [
          {},
          {
            label: data.bars.label,
            stroke: color("--chart-bar"),
            fill: color("--chart-bar"),
            width: 0,
            points: { show: false },
            paths: uPlot.paths.bars({ size: [0.8, 12] }),
          },
        ],
      };
      plots.push(new uPlot(bars, [data.bars.times, data.bars.values], place));
    }
    new ResizeObserver(() => {
      for (const plot of plots) plot.setSize({ width: figure.clientWidth - 32, height: plot.height });
    }).observe(figure);
    charts.set(figure, { data, place, plots });
  };

  const buildAll = () => {
    for (const [figure, chart] of charts) {
      if (figure.isConnected) continue;
      for (const plot of chart.plots) plot.destroy();
      charts.delete(figure);
    }
    for (const figure of document.querySelectorAll("[data-chart]")) if (!charts.has(figure)) build(figure);
  };
  addEventListener("themechange", () => {
    for (const [figure, chart] of charts) {
      for (const plot of chart.plots) plot.destroy();
      chart.place.remove();
      charts.delete(figure);
      build(figure);
    }
  });
  // A refresh of the page replaces the drawings.
  addEventListener("pagechange", buildAll);
  // The first paint shows the drawings of the server, which need no script.
  requestAnimationFrame(() => setTimeout(buildAll));
})();
