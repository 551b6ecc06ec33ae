//! Writes SVG elements. Only here is text from outside escaped.

use std::fmt::Write as _;

use crate::escape::visible;

/// The look of the classes. Colours of the areas are distinguishable in both themes and for the colour-blind.
const STYLE: &str = "\
svg{color-scheme:light dark;font:12px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif}
.paper{fill:#fff}.text{fill:#1f2328}.title{fill:#1f2328;font-size:19px;font-weight:600}.faint{fill:#59636e}
.grid{stroke:#d1d9e0;stroke-width:1}.target{stroke:#bf5b04;stroke-width:2;stroke-dasharray:6 4;fill:none}
.targettext{fill:#bf5b04}.replicas{stroke:#6639ba;stroke-width:2.5;fill:none}.under{fill:#6639ba;opacity:.12}
.open{stroke:#1f2328;stroke-width:1.2;fill:none;opacity:.55}
.decision{stroke:#6639ba;stroke-width:1.2}.decisiontext{fill:#6639ba;font-weight:600}
.span{fill:#6639ba;opacity:.16}.other{opacity:.28}
.moment{stroke:#818b98;stroke-width:1;stroke-dasharray:2 3}
.a0{fill:#218bff}.a1{fill:#2da44e}.a2{fill:#e16f24}.a3{fill:#bf3989}.a4{fill:#a475f9}.a5{fill:#eac54f}.a6{fill:#57606a}
.area{opacity:.82}
@media(prefers-color-scheme:dark){
.paper{fill:#0d1117}.text,.title{fill:#f0f6fc}.faint{fill:#9198a1}.grid{stroke:#2f3742}
.target{stroke:#f0a04b}.targettext{fill:#f0a04b}.replicas{stroke:#b392f0}.under{fill:#b392f0}
.open{stroke:#f0f6fc}.span{fill:#b392f0;opacity:.22}.other{opacity:.36}.decision{stroke:#b392f0}.decisiontext{fill:#b392f0}.moment{stroke:#656c76}
.a0{fill:#388bfd}.a1{fill:#3fb950}.a2{fill:#f0883e}.a3{fill:#db61a2}.a4{fill:#bc8cff}.a5{fill:#d29922}.a6{fill:#8b949e}
}";

/// Number of colours for areas.
pub(super) const AREAS: usize = 7;

pub(super) struct Canvas {
    out: String,
}

impl Canvas {
    pub(super) fn new(width: f64, height: f64) -> Self {
        let out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\">\n<style>{STYLE}</style>\n\
             <rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n"
        );
        Self { out }
    }

    pub(super) fn finish(mut self) -> String {
        self.out.push_str("</svg>\n");
        self.out
    }

    pub(super) fn text(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        let text = escaped(text);
        self.push(format_args!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>"
        ));
    }

    pub(super) fn line(&mut self, class: &str, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
        self.push(format_args!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        ));
    }

    pub(super) fn rect(&mut self, class: &str, (x, y): (f64, f64), (width, height): (f64, f64)) {
        self.push(format_args!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\"/>"
        ));
    }

    /// A line through points; `closed` fills the enclosed area.
    pub(super) fn path(&mut self, class: &str, points: impl IntoIterator<Item = (f64, f64)>, closed: bool) {
        let mut path = String::new();
        for (index, (x, y)) in points.into_iter().enumerate() {
            let command = if index == 0 { 'M' } else { 'L' };
            let _ = write!(path, "{command}{x:.1} {y:.1}");
        }
        if !path.is_empty() {
            let close = if closed { "Z" } else { "" };
            self.push(format_args!("<path class=\"{class}\" d=\"{path}{close}\"/>"));
        }
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = writeln!(self.out, "{element}");
    }
}

/// Text as XML allows it: escapes markup, and characters that would reverse or hide the text around it.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in visible(text).chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\u{fffe}' | '\u{ffff}' => out.push(' '),
            character => out.push(character),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_cannot_break_out() {
        let mut canvas = Canvas::new(10.0, 10.0);
        canvas.text(
            0.0,
            0.0,
            "text",
            "start",
            "<script>\"a\" & b\u{0}\u{1b}[31m\u{202e}\u{9b}\u{2067}</script>",
        );
        let svg = canvas.finish();
        let shown =
            "&lt;script&gt;&quot;a&quot; &amp; b\\x00\\x1b[31m\\u{202e}\\u{9b}\\u{2067}&lt;/script&gt;";
        assert!(svg.contains(shown), "{svg}");
    }
}
