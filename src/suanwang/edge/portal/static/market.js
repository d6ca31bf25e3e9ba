/* The market: the book as steps, prices as they were traded; a level's price goes into the ticket. */
"use strict";

(() => {
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const charts = [];

  function frame() {
    return {
      animation: false,
      textStyle: { fontFamily: style("--font") },
      grid: { left: 8, right: 8, top: 14, bottom: 4, containLabel: true },
      tooltip: { trigger: "axis", renderMode: "richText", backgroundColor: style("--surface"), borderColor: style("--line"),
        textStyle: { color: style("--text"), fontSize: 12 } },
    };
  }
  const label = () => ({ color: style("--muted"), fontSize: 10, hideOverlap: true });
  const amounts = (more) => ({ type: "value", axisLabel: label(), splitLine: { lineStyle: { color: style("--grid") } }, ...more });

  function put(id, options) {
    const box = document.getElementById(id);
    if (!box || !window.echarts) return;
    const chart = echarts.init(box, null, { renderer: "canvas" });
    chart.setOption(options);
    charts.push(chart);
    box.dataset.drawn = "true";
  }

  /* lots that one could buy up to a price, and sell down to it */
  function depth(data) {
    const side = (name, points, colour) => ({
      name: data.words[name], type: "line", step: name === "bids" ? "start" : "end", symbol: "none", data: points,
      lineStyle: { color: style(colour), width: 1.5 }, itemStyle: { color: style(colour) }, areaStyle: { color: style(colour), opacity: 0.18 },
    });
    const bids = [...data.bids].reverse(), asks = data.asks;
    const all = [...bids, ...asks].map((point) => point[0]);
    const room = Math.max((Math.max(...all) - Math.min(...all)) * 0.06, Math.max(...all) * 0.01);
    if (bids.length) bids.unshift([Math.max(0, bids[0][0] - room), bids[0][1]]);
    if (bids.length) bids.push([bids[bids.length - 1][0], 0]);
    const up = asks.length ? [[asks[0][0], 0], ...asks, [asks[asks.length - 1][0] + room, asks[asks.length - 1][1]]] : [];
    put("depth-chart", {
      ...frame(),
      xAxis: amounts({ scale: true, axisLabel: { ...label(), formatter: (value) => `¥${+value.toFixed(3)}` }, splitLine: { show: false } }),
      yAxis: amounts({ minInterval: 1 }),
      series: [side("bids", bids, "--buy"), side("asks", up, "--sell")],
    });
  }

  /* by the hour where there are enough of them: a thin bar from low to high, a thick one from open to close */
  function candles(data) {
    const bar = (of, width, stack, more) => ({ type: "bar", stack, xAxisIndex: stack === "wick" ? 1 : 0, barWidth: width, data: data.candles.map(of), silent: true, ...more });
    const hidden = { itemStyle: { color: "transparent" }, tooltip: { show: false } };
    const least = (Math.max(...data.candles.map((one) => one[2])) - Math.min(...data.candles.map((one) => one[3]))) * 0.01 || 0.001;
    const colour = (item) => style(data.candles[item.dataIndex][4] >= data.candles[item.dataIndex][1] ? "--buy" : "--sell");
    return [
      bar((one) => one[3], 1, "wick", { ...hidden, name: "" }),
      bar((one) => Math.max(one[2] - one[3], least), 1, "wick", { name: data.words.range, itemStyle: { color: colour }, tooltip: { show: false } }),
      bar((one) => Math.min(one[1], one[4]), "46%", "body", { ...hidden, name: "", barMaxWidth: 14 }),
      bar((one) => Math.max(Math.abs(one[1] - one[4]), least), "46%", "body", { barMaxWidth: 14, name: data.words.price, itemStyle: { color: colour }, tooltip: { show: false } }),
    ];
  }

  function reference(data) {
    if (data.reference === null) return {};
    // its figure stands above the chart, where no candle hides it
    return { markLine: { silent: true, symbol: "none", lineStyle: { color: style("--muted"), type: "dashed" }, data: [{ yAxis: data.reference }], label: { show: false } } };
  }

  /* the axis reaches to the reference price, by itself it reaches to what was traded */
  function withReference(data) {
    const price = data.reference;
    if (price === null) return {};
    return { min: (range) => (price < range.min ? price * 0.998 : null), max: (range) => (price > range.max ? price * 1.002 : null) };
  }

  function prices(data) {
    const byHour = data.candles.length >= 4, rows = byHour ? data.candles : data.trades, lots = byHour ? 5 : 2, last = byHour ? 4 : 1;
    const line = { name: data.words.price, type: "line", symbol: rows.length > 40 ? "none" : "circle", symbolSize: byHour ? 3 : 5, data: rows.map((one) => one[last]),
      lineStyle: { color: style("--bar"), width: byHour ? 0 : 1.6 }, itemStyle: { color: style("--bar") }, ...reference(data) };
    const shown = { type: "category", data: rows.map((one) => one[0]), axisLabel: label(), axisLine: { lineStyle: { color: style("--line") } }, axisTick: { show: false } };
    const hidden = { ...shown, show: false, axisPointer: { show: false } };
    put("price-chart", {
      ...frame(),
      xAxis: [shown, hidden, hidden], // bars that share an axis stand beside each other
      yAxis: [amounts({ scale: true, ...withReference(data), axisLabel: { ...label(), formatter: (value) => `¥${+value.toFixed(3)}` } }),
        amounts({ show: false, max: (range) => range.max * 4, splitLine: { show: false } })],
      series: [
        ...(byHour ? candles(data) : []), line,
        { name: data.words.lots, type: "bar", xAxisIndex: 2, yAxisIndex: 1, barMaxWidth: 10, data: rows.map((one) => one[lots]), itemStyle: { color: style("--track") } },
      ],
    });
  }

  function draw() {
    while (charts.length) charts.pop().dispose();
    const box = document.getElementById("chart-data");
    if (!box) return;
    const data = JSON.parse(box.dataset.charts);
    if (data.bids.length + data.asks.length) depth(data);
    if (data.trades.length) prices(data);
  }

  document.addEventListener("click", (event) => {
    const rung = event.target.closest("tr[data-price]");
    const price = document.getElementById("price");
    if (!rung || !price) return;
    price.value = rung.dataset.price;
    price.dispatchEvent(new Event("input", { bubbles: true }));
  });
  document.addEventListener("DOMContentLoaded", draw);
  document.addEventListener("htmx:afterSwap", (event) => { if (event.detail.target.id === "live") draw(); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let timer = null;
  window.addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(draw, 120); });
})();
