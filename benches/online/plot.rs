//! The seconds of each tool as bars, one group for each table and load, as an SVG file.

use std::fmt::Write;

/// One bar.
#[derive(Debug, Clone)]
pub(crate) struct Bar {
    /// Table, rows and load: bars of one group stand together and have a scale of their own.
    pub(crate) group: String,
    pub(crate) tool: &'static str,
    pub(crate) seconds: f64,
    /// What stands behind the bar.
    pub(crate) note: String,
}

const WIDTH: f64 = 860.0;
const LEFT: f64 = 150.0;
const LONGEST: f64 = 420.0;
const LINE: f64 = 24.0;

/// Draws the bars in the order in which they come.
pub(crate) fn svg(bars: &[Bar]) -> String {
    let mut body = String::new();
    let mut y = 8.0;
    for group in bars.chunk_by(|a, b| a.group == b.group) {
        let longest = group.iter().map(|bar| bar.seconds).fold(0.001, f64::max);
        y += LINE;
        let title = &group[0].group;
        // Writing to a String does not fail.
        let _ = writeln!(body, r#"<text x="8" y="{y:.0}" font-weight="bold">{title}</text>"#);
        for Bar { tool, seconds, note, .. } in group {
            y += LINE;
            let length = LONGEST * seconds / longest;
            let fill = if tool.starts_with("replank") { "#0b7285" } else { "#adb5bd" };
            let (top, end) = (y - 14.0, LEFT + length + 8.0);
            let _ = writeln!(
                body,
                r#"<text x="8" y="{y:.0}">{tool}</text><rect x="{LEFT}" y="{top:.0}" width="{length:.1}" height="18" fill="{fill}"/><text x="{end:.0}" y="{y:.0}">{seconds:.1} s{note}</text>"#
            );
        }
        y += 8.0;
    }
    let height = y + 16.0;
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" font-family="sans-serif" font-size="14">
<rect width="100%" height="100%" fill="#ffffff"/>
<g fill="#212529">
{body}</g>
</svg>
"##
    )
}
