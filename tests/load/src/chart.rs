//! The rows that compare CPU time, as a picture: how much of nginx's time a request takes, from round to round, and where
//! the goal is. It has no colours of its own for the page, so that it can be read on a light one and on a dark one.

use std::fmt::Write as _;

use crate::bench::Samples;
use crate::report::{About, Spread, medians, outcome};
use crate::rows::{Goal, Row};

const WIDTH: f64 = 860.0;
/// Where bars begin: titles stand above them, not beside.
const LEFT: f64 = 10.0;
const RIGHT: f64 = 190.0;
const BAR: f64 = 14.0;
const ROW: f64 = 48.0;
const TOP: f64 = 56.0;

/// What one row shows.
struct Bar<'r> {
    row: &'r Row,
    /// Tollgate's time, as a part of nginx's in the same round.
    ratio: Spread,
    goal: f64,
    /// Microseconds of both.
    costs: [f64; 2],
}

/// The picture.
pub(crate) fn chart(about: &About, rows: &[Row], samples: &Samples) -> String {
    let bars: Vec<Bar<'_>> = rows
        .iter()
        .filter_map(|row| {
            let Goal::Cost(goal) = row.goal else { return None };
            let costs = [row.ours, row.beside].map(|name| medians(&samples[name])[0]);
            Some(Bar { row, ratio: outcome(row, samples), goal, costs })
        })
        .collect();
    let most = bars.iter().map(|bar| bar.ratio.most).fold(1.0, f64::max);
    let x = |ratio: f64| LEFT + ratio / most * (WIDTH - LEFT - RIGHT);
    let bottom = TOP + ROW * bars.len() as f64;
    let height = bottom + 28.0;
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-labelledby="title">
<title id="title">CPU time of one request as a part of nginx's</title>
<style>
text {{ font: 13px system-ui, sans-serif; fill: #1f2328 }} .quiet {{ fill: #59636e; font-size: 12px }} .head {{ font-weight: 600; font-size: 15px }}
.ours {{ fill: #0969da }} .nginx {{ stroke: #8c959f; stroke-width: 2 }} .goal {{ stroke: #1a7f37; stroke-width: 2 }} .spread {{ stroke: #1f2328 }} .axis {{ stroke: #d1d9e0 }}
@media (prefers-color-scheme: dark) {{
text {{ fill: #f0f6fc }} .quiet {{ fill: #9198a1 }} .ours {{ fill: #4493f8 }} .nginx {{ stroke: #656c76 }} .goal {{ stroke: #3fb950 }} .spread {{ stroke: #f0f6fc }} .axis {{ stroke: #3d444d }}
}}
</style>
<text class="head" x="{LEFT}" y="22">CPU time of one request as a part of nginx's; less is better</text>
<rect class="ours" x="{LEFT}" y="33" width="10" height="10"/><text class="quiet" x="26" y="42">Tollgate</text>
<line class="spread" x1="90" y1="38" x2="106" y2="38"/><text class="quiet" x="112" y="42">from round to round</text>
<line class="nginx" x1="262" y1="31" x2="262" y2="45"/><text class="quiet" x="269" y="42">nginx</text>
<line class="goal" x1="318" y1="31" x2="318" y2="45"/><text class="quiet" x="325" y="42">goal</text>
<line class="nginx" x1="{0:.1}" y1="{TOP}" x2="{0:.1}" y2="{bottom}"/>
"#,
        x(1.0)
    );
    // Writing to a String cannot fail.
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        let _ = writeln!(svg, "{arguments}");
    };
    for (index, Bar { row, ratio, goal, costs: [ours, nginx] }) in bars.iter().enumerate() {
        let y = TOP + ROW * index as f64;
        let (top, middle, base) = (y + 20.0, y + 20.0 + BAR / 2.0, y + 20.0 + BAR);
        line(format_args!(r#"<text x="{LEFT}" y="{:.1}">{}</text>"#, y + 14.0, escape(row.title)));
        line(format_args!(
            r#"<rect class="ours" x="{LEFT}" y="{top:.1}" width="{:.1}" height="{BAR}" rx="2"/>"#,
            x(ratio.median) - LEFT
        ));
        line(format_args!(
            r#"<line class="spread" x1="{:.1}" y1="{middle:.1}" x2="{:.1}" y2="{middle:.1}"/>"#,
            x(ratio.least),
            x(ratio.most)
        ));
        line(format_args!(
            r#"<line class="goal" x1="{0:.1}" y1="{1:.1}" x2="{0:.1}" y2="{2:.1}"/>"#,
            x(*goal),
            top - 3.0,
            base + 3.0
        ));
        line(format_args!(
            r#"<text class="quiet" x="{:.1}" y="{:.1}">{:.2} ({ours:.1} µs, {nginx:.1} µs)</text>"#,
            x(ratio.most.max(*goal).max(1.0)) + 8.0,
            middle + 4.0,
            ratio.median
        ));
    }
    line(format_args!(r#"<line class="axis" x1="{LEFT}" y1="{TOP}" x2="{LEFT}" y2="{bottom}"/>"#));
    line(format_args!(r#"<text class="quiet" x="{LEFT}" y="{}">{}</text>"#, height - 10.0, escape(&about.line())));
    svg.push_str("</svg>\n");
    svg
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
