/* What a programme would have paid, day by day, on top of what projects would have paid. */
"use strict";

(() => {
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  let chart = null;

  function options(data) {
    const text = { color: style("--muted"), fontSize: 11 };
    const bars = (name, values, colour) => ({ name, type: "bar", stack: "all", data: values, barMaxWidth: 28, itemStyle: { color: style(colour) } });
    return {
      animation: false,
      textStyle: { fontFamily: style("--font") },
      grid: { left: 4, right: 8, top: 34, bottom: 4, containLabel: true },
      legend: { top: 0, left: 0, textStyle: { color: style("--text"), fontSize: 12 }, itemWidth: 12, itemHeight: 12 },
      tooltip: { trigger: "axis", renderMode: "richText", backgroundColor: style("--surface"), borderColor: style("--line"), textStyle: { color: style("--text"), fontSize: 12 },
        valueFormatter: (value) => `¥${value.toLocaleString(undefined, { maximumFractionDigits: 2 })}` },
      xAxis: { type: "category", data: data.days, axisLabel: text, axisLine: { lineStyle: { color: style("--line") } }, axisTick: { show: false } },
      yAxis: { type: "value", axisLabel: text, splitLine: { lineStyle: { color: style("--grid") } } },
      series: [bars(data.names[0], data.paid, "--idle"), bars(data.names[1], data.relieved, "--bar")],
    };
  }

  function draw() {
    const box = document.getElementById("what-if");
    if (!box || !window.echarts) return;
    chart?.dispose();
    chart = echarts.init(box, null, { renderer: "canvas" });
    chart.setOption(options(JSON.parse(box.dataset.chart)));
    box.dataset.drawn = "true";
  }

  document.addEventListener("DOMContentLoaded", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let timer = null;
  window.addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(draw, 120); });
})();
