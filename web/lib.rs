//! What the web pages are made of. `npm run build` makes it from `src/` and it is committed, so that building playctl
//! takes no Node; `.ci/run web` checks that it is what the sources give.

/// The script of a report, which `report::html` puts into a page.
pub const REPORT_SCRIPT: &str = include_str!("dist/report/report.js");
/// Its style.
pub const REPORT_STYLE: &str = include_str!("dist/report/report.css");

/// One file of the page "Server-User Network".
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// Where it is served.
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

    /// The report's stand within a page: nothing in them may end their element or be read as another one, and they refer
    /// to nothing that would have to be loaded.
    #[test]
    fn files_within_a_report_cannot_end_their_element_or_load_anything() {
        for (text, element) in [(REPORT_SCRIPT, "</script"), (REPORT_STYLE, "</style")] {
            let lower = text.to_lowercase();
            for forbidden in [element, "<!--", "<script", "@import", "sourcemappingurl", "import("] {
                assert!(!lower.contains(forbidden), "{forbidden}");
            }
            // A line end that a page's reader would change would change the hash, too.
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
