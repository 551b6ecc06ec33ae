//! The files of the web pages. `npm run build` generates them from `src/`, and they are committed so that building
//! playctl does not need Node; `.ci/run web` checks that they match the sources.

/// A report's script, which `report::html` puts into a page.
pub const REPORT_SCRIPT: &str = include_str!("dist/report/report.js");
/// A report's style.
pub const REPORT_STYLE: &str = include_str!("dist/report/report.css");

/// One file of the page "Server-User Network".
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// The path at which it is served.
    pub path: &'static str,
    pub content_type: &'static str,
    pub body: &'static str,
}

/// All of them.
pub const PAGE: [File; 3] = [
    File { path: "/", content_type: "text/html; charset=utf-8", body: include_str!("dist/page/index.html") },
    File {
        path: "/page.js",
        content_type: "text/javascript; charset=utf-8",
        body: include_str!("dist/page/page.js"),
    },
    File {
        path: "/page.css",
        content_type: "text/css; charset=utf-8",
        body: include_str!("dist/page/page.css"),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The report's files are embedded in a page: nothing in them may end their element or look like another one, and
    /// they must not load anything.
    #[test]
    fn files_within_a_report_cannot_end_their_element_or_load_anything() {
        for (text, element) in [(REPORT_SCRIPT, "</script"), (REPORT_STYLE, "</style")] {
            let lower = text.to_lowercase();
            for forbidden in [element, "<!--", "<script", "@import", "sourcemappingurl", "import("] {
                assert!(!lower.contains(forbidden), "{forbidden}");
            }
            // A line end that parsers normalise would change the hash.
            assert!(!text.contains('\r'));
        }
        assert!(!REPORT_STYLE.contains("url("));
        for call in ["innerHTML", "document.write", "eval(", "new Function"] {
            assert!(!REPORT_SCRIPT.contains(call) || call == "innerHTML", "{call}");
        }
    }

    #[test]
    fn the_page_loads_only_its_own_files() {
        let [index, ..] = PAGE;
        for file in &PAGE[1..] {
            assert!(
                index.body.contains(&format!("\"{}\"", file.path.trim_start_matches('/'))),
                "{}",
                file.path
            );
        }
        assert!(!index.body.contains("://"));
    }
}
