/* The map: sites at their longitude and latitude as points sized by capacity, links as arcs. */
"use strict";

(() => {
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const KINDS = { open: ["circle", "--bar"], draining: ["diamond", "--warn"], unreachable: ["circle", "--bad", true], invited: ["circle", "--idle", true] };
  let chart = null;

  /* hollow where nothing can run */
  function look(state) {
    const [, colour, hollow] = KINDS[state] || KINDS.open;
    return hollow
      ? { color: style("--surface"), borderColor: style(colour), borderWidth: 2 }
      : { color: style(colour), opacity: 0.9, borderColor: style("--surface"), borderWidth: 1.5 };
  }

  /* an arc between a and b, bulging northwards by a fifth of its length */
  function arc(a, b) {
    if (a[0] > b[0]) [a, b] = [b, a];
    const middle = [(a[0] + b[0]) / 2 - (b[1] - a[1]) * 0.2, (a[1] + b[1]) / 2 + (b[0] - a[0]) * 0.2];
    return Array.from({ length: 25 }, (_, i) => {
      const t = i / 24, u = 1 - t;
      return [0, 1].map((k) => u * u * a[k] + 2 * u * t * middle[k] + t * t * b[k]);
    });
  }

  /* one scale for both axes at the sites' mean latitude, with room around the points */
  function extent(sites, width, height) {
    const lons = sites.map((s) => s.lon), lats = sites.map((s) => s.lat);
    const mid = (list) => (Math.min(...list) + Math.max(...list)) / 2;
    const span = (list) => Math.max(...list) - Math.min(...list);
    const shrink = Math.max(0.3, Math.cos((mid(lats) * Math.PI) / 180));
    const lat = Math.max(span(lats) * 1.7, (span(lons) * 1.35 * shrink * height) / width, 6);
    const lon = (lat * width) / height / shrink;
    return { lon: [mid(lons) - lon / 2, mid(lons) + lon / 2], lat: [mid(lats) - lat / 2, mid(lats) + lat / 2] };
  }

  function options(data, width, height) {
    const area = extent(data.sites, width, height);
    const most = Math.max(1, ...data.sites.map((s) => s.weight));
    /* on a phone degrees would stand under the sites' names */
    const near = (range, value) => Math.min(value - range[0], range[1] - value) < (range[1] - range[0]) * 0.05;
    const axis = (names, range) => ({
      type: "value", min: range[0], max: range[1], axisLine: { show: false }, axisTick: { show: false },
      splitLine: { lineStyle: { color: style("--grid") } }, splitNumber: 6,
      axisLabel: { show: width >= 480, color: style("--muted"), fontSize: 10, inside: true, showMinLabel: false, showMaxLabel: false,
        formatter: (value) => (near(range, value) ? "" : `${Math.abs(value).toFixed(0)}°${value < 0 ? names[1] : names[0]}`) },
    });
    const byName = Object.fromEntries(data.sites.map((s) => [s.name, s]));
    const arcs = data.links.filter((l) => byName[l.from] && byName[l.to]).map((link) => ({
      type: "line", silent: true, symbol: "none", smooth: true, z: 1, animation: false,
      data: arc([byName[link.from].lon, byName[link.from].lat], [byName[link.to].lon, byName[link.to].lat]),
      lineStyle: { color: style("--bar"), opacity: 0.45, width: 1.4 },
    }));
    return {
      animation: false,
      textStyle: { fontFamily: style("--font") },
      grid: { left: 0, right: 0, top: 0, bottom: 0 },
      xAxis: axis("EW", area.lon), yAxis: axis("NS", area.lat),
      tooltip: { renderMode: "richText", trigger: "item", backgroundColor: style("--surface"), borderColor: style("--line"),
        textStyle: { color: style("--text"), fontSize: 12 }, formatter: (item) => (item.data && item.data.tip) || "" },
      series: [...arcs, {
        type: "scatter", z: 3,
        data: data.sites.map((site, _, all) => ({ ...site, below: all.some((one) => one !== site && Math.abs(one.lon - site.lon) < 8 && one.lat > site.lat && one.lat - site.lat < 4) })).map((site) => ({
          name: site.name, value: [site.lon, site.lat], tip: site.tip, url: site.url,
          symbol: (KINDS[site.state] || KINDS.open)[0], symbolSize: 14 + 26 * Math.sqrt(site.weight / most),
          itemStyle: look(site.state),
          label: { show: true, position: site.below ? "bottom" : "top", distance: 5, formatter: site.label, color: style("--text"), fontSize: 12,
            width: 150, overflow: "truncate", textBorderColor: style("--surface"), textBorderWidth: 3 },
        })),
      }],
    };
  }

  function draw() {
    const box = document.getElementById("map");
    if (!box || !window.echarts) return;
    chart?.dispose();
    chart = echarts.init(box, null, { renderer: "canvas" });
    chart.setOption(options(JSON.parse(box.dataset.map), box.clientWidth, box.clientHeight));
    chart.on("click", (event) => { if (event.data && event.data.url) location.href = event.data.url; });
    box.dataset.drawn = "true";
  }

  document.addEventListener("DOMContentLoaded", draw);
  document.addEventListener("htmx:afterSwap", draw);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let timer = null;
  window.addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(draw, 120); });
})();
