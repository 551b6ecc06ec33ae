//! One run, or two compared, as one self-contained HTML file: no network, no server, no second file.
//!
//! Its script and style come from `web/`. The data are in the file as JSON, and the script inserts all of it as text. A
//! policy in the file allows only that script and that style by their hashes. However long a run was, its page stays
//! below 5 MiB: of each stretch of time, the lowest and the highest sample are kept.

mod envelope;
mod figures;
mod holds;
mod lines;
mod replicas;
mod services;
mod story;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::digest;
use serde::Serialize;
pub use story::{Pulse, Story};

/// The script's input.
#[derive(Serialize)]
struct Data<'a> {
    runs: Vec<story::Drawn<'a>>,
}

/// The page of a run; with a second one, both are compared.
///
/// # Errors
/// The data cannot be written as JSON, which no run causes.
pub fn html(run: &Story, other: Option<&Story>) -> Result<String, serde_json::Error> {
    let data = inert(&data(run, other)?);
    let title = other.map_or_else(|| run.title(), |other| format!("{} and {}", run.title(), other.title()));
    let (script, style) = (web::REPORT_SCRIPT, web::REPORT_STYLE);
    Ok(format!(
        "<!doctype html>\n\
         <html lang=\"en\">\n\
         <head>\n\
         <meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; script-src {}; style-src {}; \
         base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{}</title>\n\
         <style>{style}</style>\n\
         </head>\n\
         <body>\n\
         <div id=\"app\"><header><h1 class=\"title\">{}</h1></header></div>\n\
         <noscript>This report is drawn by a script. \
         <code>playctl report RUN.jsonl</code> prints the same run as text.</noscript>\n\
         <script type=\"application/json\" id=\"data\">{data}</script>\n\
         <script>{script}</script>\n\
         </body>\n\
         </html>\n",
        hash(script),
        hash(style),
        escape(&title),
        escape(&title),
    ))
}

/// The input of the page's script, as JSON: one run or two.
///
/// # Errors
/// Like [`html`].
pub fn data(run: &Story, other: Option<&Story>) -> Result<String, serde_json::Error> {
    let runs = std::iter::once(run).chain(other).map(Story::finish).collect();
    serde_json::to_string(&Data { runs })
}

/// The input of the live page's script: a run in progress, and the current state beside it.
///
/// # Errors
/// Like [`html`].
pub fn live_data(
    run: &Story,
    present: Option<&(impl Serialize + ?Sized)>,
) -> Result<String, serde_json::Error> {
    #[derive(Serialize)]
    struct Live<'a, P: ?Sized> {
        runs: [story::Drawn<'a>; 1],
        present: Option<&'a P>,
    }
    serde_json::to_string(&Live { runs: [run.finish()], present })
}

/// The Content-Security-Policy's name for an inline script or style.
fn hash(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(digest::digest(&digest::SHA256, text.as_bytes())))
}

/// JSON that cannot end its element, whatever its texts are. All of these characters only occur in JSON's strings,
/// where they may be escaped like this.
fn inert(json: &str) -> String {
    let mut inert = String::with_capacity(json.len() + json.len() / 64);
    for character in json.chars() {
        match character {
            '<' => inert.push_str("\\u003c"),
            '>' => inert.push_str("\\u003e"),
            '&' => inert.push_str("\\u0026"),
            '\u{2028}' => inert.push_str("\\u2028"),
            '\u{2029}' => inert.push_str("\\u2029"),
            character => inert.push(character),
        }
    }
    inert
}

/// Text within an element.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
