//! The rows that compare CPU time, as a picture: two bars each, and a mark where the goal is. It has no colours of its own
//! for the page, so that it can be read on a light one and on a dark one.

use std::fmt::Write as _;

use crate::bench::Samples;
use crate::report::{About, medians};
use crate::rows::{Goal, Row};

const WIDTH: f64 = 860.0;
/// Where bars begin: titles stand above them, not beside.
const LEFT: f64 = 10.0;
const RIGHT: f64 = 150.0;
const BAR: f64 = 14.0;
const ROW: f64 = 64.0;
const TOP: f64 = 56.0;

/// The picture.
pub(crate) fn chart(about: &About, rows: &[Row], samples: &Samples) -> String {
    let bars: Vec<(&Row, f64, f64, f64)> = rows
        .iter()
        .filter_map(|row| {
            let Goal::Cost(goal) = row.goal else { return None };
            let cost = |name: &str| medians(&samples[name])[0];
            Some((row, cost(row.ours), cost(row.beside), goal))
        })
        // A handshake costs ten times what a request does; beside it the others would be dots.
        .filter(|(_, ours, beside, _)| ours.max(*beside) < 150.0)
        .collect();
    let most = bars.iter().map(|(_, ours, beside, _)| ours.max(*beside)).fold(1.0, f64::max);
    let scale = (WIDTH - LEFT - RIGHT) / most;
    let height = TOP + ROW * bars.len() as f64 + 28.0;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">
<title id="title">CPU microseconds of one request: Tollgate beside nginx</title>
<style>
text {{ font: 13px system-ui, sans-serif; fill: #1f2328 }} .quiet {{ fill: #59636e; font-size: 12px }} .head {{ font-weight: 600; font-size: 15px }}
.ours {{ fill: #0969da }} .nginx {{ fill: #8c959f }} .goal {{ stroke: #1a7f37; stroke-width: 2 }} .axis {{ stroke: #d1d9e0 }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #f0f6fc }} .quiet {{ fill: #9198a1 }} .ours {{ fill: #4493f8 }} .nginx {{ fill: #656c76 }} .goal {{ stroke: #3fb950 }} .axis {{ stroke: #3d444d }}
}}
</style>
<text class="head" x="{LEFT}" y="22">CPU microseconds of one request; less is better</text>
<rect class="ours" x="{LEFT}" y="33" width="10" height="10"/><text class="quiet" x="26" y="42">Tollgate</text>
<rect class="nginx" x="90" y="33" width="10" height="10"/><text class="quiet" x="106" y="42">nginx</text>
<line class="goal" x1="155" y1="31" x2="155" y2="45"/><text class="quiet" x="162" y="42">goal</text>
"#
    );
    // Writing to a String cannot fail.
    for (index, (row, ours, beside, goal)) in bars.iter().enumerate() {
        let y = TOP + ROW * index as f64;
        let _ = writeln!(svg, r#"<text x="{LEFT}" y="{}">{}</text>"#, y + 14.0, escape(row.title));
        for (class, value, at) in [("ours", ours, y + 20.0), ("nginx", beside, y + 22.0 + BAR)] {
            let width = value * scale;
            let _ = writeln!(
                svg,
                r#"<rect class="{class}" x="{LEFT}" y="{at}" width="{width:.1}" height="{BAR}" rx="2"/><text class="quiet" x="{:.1}" y="{:.1}">{value:.1} µs</text>"#,
                LEFT + width + 6.0,
                at + 11.0
            );
        }
        let x = LEFT + beside * goal * scale;
        let _ = writeln!(
            svg,
            r#"<line class="goal" x1="{x:.1}" y1="{:.1}" x2="{x:.1}" y2="{:.1}"/>"#,
            y + 17.0,
            y + 25.0 + 2.0 * BAR
        );
    }
    let _ = writeln!(
        svg,
        r#"<line class="axis" x1="{LEFT}" y1="{TOP}" x2="{LEFT}" y2="{}"/>"#,
        TOP + ROW * bars.len() as f64
    );
    let _ = writeln!(svg, r#"<text class="quiet" x="{LEFT}" y="{}">{}</text>"#, height - 10.0, escape(&about.line()));
    svg.push_str("</svg>\n");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
