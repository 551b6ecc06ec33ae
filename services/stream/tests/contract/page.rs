use crate::support::{Ground, Replica, ask, strangers};

#[test]
fn the_page_is_the_same_for_every_pair_and_loads_only_its_own_files() {
    let ground = Ground::new();
    let replica = Replica::start(&ground, &[]);
    let get = |path: &str| ask(replica.address, "GET", path, "");
    let pages = [strangers(), strangers()].map(|(user, profile)| {
        let (status, head, body) = get(&format!("/index/{user}/{profile}"));
        assert_eq!(status, 200);
        assert!(head.contains("content-type: text/html"), "{head}");
        assert!(head.contains("content-security-policy: default-src 'none'; script-src 'self'"), "{head}");
        assert!(!body.contains(&user) && !body.contains(&profile));
        assert_eq!(get(&format!("/index/{user}/{profile}/")).2, body);
        body
    });
    assert_eq!(pages[0], pages[1]);
    // Everything that it refers to is served, under the same policy; it contains no inline code.
    for part in pages[0].split(['"', '\'']).filter(|part| part.starts_with('/')) {
        let (status, head, _) = get(part);
        assert_eq!(status, 200, "{part}");
        assert!(head.contains("x-content-type-options: nosniff"), "{head}");
    }
    assert!(!pages[0].contains("http") && !pages[0].contains("style=") && !pages[0].contains(" on"));
    let (_, _, script) = get("/assets/index.js");
    for dangerous in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("] {
        assert!(!script.contains(dangerous), "{dangerous}");
    }
}
