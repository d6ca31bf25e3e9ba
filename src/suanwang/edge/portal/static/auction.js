/* One round: prices and lots over the day, supply and demand of an hour. */
"use strict";

(() => {
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const charts = [];

  function common() {
    const label = { color: style("--muted"), fontSize: 11 };
    const line = { lineStyle: { color: style("--line") } };
    return {
      animation: false,
      textStyle: { fontFamily: style("--font") },
      grid: { left: 8, right: 8, top: 34, bottom: 22, containLabel: true },
      legend: { top: 0, right: 0, itemWidth: 14, itemHeight: 8, textStyle: label },
      tooltip: { renderMode: "richText", trigger: "axis", backgroundColor: style("--surface"), borderColor: style("--line"),
        textStyle: { color: style("--text"), fontSize: 12 } },
      axis: { axisLabel: label, axisLine: line, axisTick: line, nameTextStyle: label, splitLine: { lineStyle: { color: style("--grid") } } },
    };
  }

  /* the price as stairs, the lots as bars behind it */
  function prices(data) {
    const { axis, ...rest } = common();
    return {
      ...rest,
      xAxis: { ...axis, type: "category", data: data.hours, axisLabel: { ...axis.axisLabel, interval: 3 } },
      yAxis: [
        { ...axis, type: "value", name: "¥", scale: true },
        { ...axis, type: "value", splitLine: { show: false }, minInterval: 1 },
      ],
      series: [
        { name: data.names.lots, type: "bar", yAxisIndex: 1, data: data.lots, itemStyle: { color: style("--track") }, barCategoryGap: "20%" },
        { name: data.names.price, type: "line", step: "middle", data: data.prices, symbolSize: 5, connectNulls: false,
          lineStyle: { color: style("--bar"), width: 2 }, itemStyle: { color: style("--bar") } },
      ],
    };
  }

  function curves(data) {
    const { axis, ...rest } = common();
    const stairs = (name, colour) => ({
      name: data.names[name], type: "line", data: data[name], symbol: "none",
      lineStyle: { color: style(colour), width: 2 }, itemStyle: { color: style(colour) },
    });
    const supply = stairs("supply", "--warn");
    if (data.price !== null) {
      supply.markLine = {
        silent: true, symbol: "none", lineStyle: { color: style("--text"), type: "dashed" },
        label: { formatter: `${data.names.cleared_price} ¥${data.price}`, position: "insideEndTop", color: style("--text"), fontSize: 11 },
        data: [{ yAxis: data.price }],
      };
    }
    return {
      ...rest,
      xAxis: { ...axis, type: "value", name: data.names.lots, nameLocation: "middle", nameGap: 24, minInterval: 1 },
      yAxis: { ...axis, type: "value", name: "¥" },
      series: [stairs("demand", "--bar"), supply],
    };
  }

  function draw() {
    if (!window.echarts) return;
    charts.splice(0).forEach((one) => one.dispose());
    for (const [id, options] of [["prices", prices], ["curves", curves]]) {
      const box = document.getElementById(id);
      if (!box) continue;
      const chart = echarts.init(box, null, { renderer: "canvas" });
      chart.setOption(options(JSON.parse(box.dataset.chart)));
      if (id === "prices") chart.on("click", (event) => look(event.dataIndex));
      charts.push(chart);
      box.dataset.drawn = "true";
    }
  }

  /* the curves of the hour that was chosen in the chart */
  function look(hour) {
    const query = new URLSearchParams(location.search);
    query.set("hour", hour);
    query.delete("done");
    location.search = query;
  }

  document.addEventListener("DOMContentLoaded", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let timer = null;
  window.addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(draw, 120); });
})();
