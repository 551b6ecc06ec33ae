//! The served `OpenAPI` document against the service: every operation is tested with every documented outcome that a
//! client can cause, and each answer must match the document. Undocumented operations are refused.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::{Answer, ID, JSON, ask, cassandra, get, send, start, start_alone};

/// The document, and which of its outcomes were seen.
struct Document {
    document: Value,
    seen: BTreeSet<(String, String, String)>,
}

impl Document {
    fn resolved<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.document.pointer(reference.strip_prefix('#').unwrap()).unwrap(),
            None => value,
        }
    }

    /// Checks an answer to `method path`.
    #[track_caller]
    fn check(&mut self, method: &str, path: &str, answer: &Answer) {
        let operation = &self.document["paths"][path][method.to_lowercase()];
        assert!(operation.is_object(), "{method} {path} is not described");
        let status = answer.status.to_string();
        let response = self.resolved(&operation["responses"][&status]).clone();
        assert!(response.is_object(), "{method} {path}: {status} is not described: {answer:?}");
        let kind = answer.header("content-type").map(|kind| kind.split(';').next().unwrap());
        match response["content"].as_object() {
            None => assert_eq!((kind, &*answer.body), (None, ""), "{method} {path}"),
            Some(content) => {
                let kind = kind.unwrap_or_else(|| panic!("{method} {path}: no content type"));
                let schema =
                    &content.get(kind).unwrap_or_else(|| panic!("{method} {path}: {kind}"))["schema"];
                let body = if kind.ends_with("json") { answer.json() } else { json!(answer.body) };
                let mut schema = schema.clone();
                schema["components"] = self.document["components"].clone();
                let validator = jsonschema::draft202012::new(&schema).unwrap();
                let errors: Vec<String> =
                    validator.iter_errors(&body).map(|error| error.to_string()).collect();
                assert!(errors.is_empty(), "{method} {path}: {errors:?}");
            }
        }
        for (name, header) in response["headers"].as_object().into_iter().flatten() {
            assert!(header["required"] != true || answer.header(name).is_some(), "{method} {path}: {name}");
        }
        self.seen.insert((path.to_owned(), method.to_lowercase(), status));
    }
}

#[test]
fn the_document_and_the_service_agree() {
    let (server, guarded) = (start(&[]), start(&[("ALLOW_DROP", "false")]));
    let served = get(&server, "/openapi.json");
    let document = served.json();
    assert_eq!(document["openapi"], "3.1.0");
    let mut document = Document { document, seen: BTreeSet::new() };
    document.check("GET", "/openapi.json", &served);
    for path in ["/", "/health"] {
        document.check("GET", path, &get(&server, path));
    }
    let too_long = " ".repeat(1024 * 1024 + 1);
    for (path, body) in [("/users", json!({"name": "Ann"})), ("/profiles", json!({"users": [ID]}))] {
        let (one, real) = (format!("{path}/{{id}}"), format!("{path}/{ID}"));
        document.check("GET", &one, &get(&server, &real));
        for (method, described, real) in [("POST", path, path), ("PUT", &one, &real)] {
            document.check(method, described, &send(&server, method, real, &body));
            document.check(method, described, &send(&server, method, real, &json!([])));
            document.check(method, described, &ask(server.address, method, real, &[], "{}"));
            document.check(method, described, &ask(server.address, method, real, &[JSON], &too_long));
        }
        document.check("GET", &one, &get(&server, &real));
        document.check("GET", path, &get(&server, path));
        let page = get(&server, &format!("{path}?limit=1"));
        assert!(page.header("link").is_some());
        document.check("GET", path, &page);
        document.check("GET", path, &get(&server, &format!("{path}?limit=x")));
        for method in ["GET", "DELETE"] {
            document.check(method, &one, &ask(server.address, method, &format!("{path}/1"), &[], ""));
        }
        document.check("DELETE", &one, &ask(server.address, "DELETE", &real, &[], ""));
        let drop = format!("{path}/drop");
        document.check("DELETE", &drop, &ask(guarded.address, "DELETE", &drop, &[], ""));
        document.check("DELETE", &drop, &ask(server.address, "DELETE", &drop, &[], ""));
    }
    let (of_user, real) = ("/profiles/user/{id}", format!("/profiles/user/{ID}"));
    send(&server, "POST", "/profiles", &json!({"users": [ID]})).ok();
    document.check("GET", of_user, &get(&server, &real));
    document.check("GET", of_user, &get(&server, "/profiles/user/1"));
    without_a_database(&mut document);
    without_room(&mut document);

    let mut unseen = BTreeSet::new();
    for (path, item) in document.document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters") {
            for status in operation["responses"].as_object().unwrap().keys() {
                let outcome = (path.clone(), method.clone(), status.clone());
                // With data in Cassandra, memory is never full.
                if !document.seen.contains(&outcome) && (status != "507" || cassandra().is_none()) {
                    unseen.insert(outcome);
                }
            }
        }
    }
    assert!(unseen.is_empty(), "described, and not seen: {unseen:?}");
}

/// Without a database at its address, requests that need it are refused as documented.
fn without_a_database(document: &mut Document) {
    let away = start_alone(&[("CASSANDRA_CONTACT_POINTS", "127.0.0.1:1")]);
    let described = document.document["paths"].as_object().unwrap().clone();
    for (path, item) in described {
        for (method, operation) in item.as_object().unwrap() {
            if operation["responses"]["503"].is_object() {
                let (method, real) = (method.to_uppercase(), path.replace("{id}", ID));
                let answer = send(&away, &method, &real, &json!({}));
                assert_eq!(answer.status, 503, "{method} {path}: {answer:?}");
                document.check(&method, &path, &answer);
            }
        }
    }
}

/// Without room, requests that store are refused as documented.
fn without_room(document: &mut Document) {
    if cassandra().is_some() {
        return;
    }
    let full = start(&[("MEMORY_LIMIT", "1")]);
    let users: Vec<uuid::Uuid> = (0..10_000).map(uuid::Uuid::from_u128).collect();
    let fill = || send(&full, "POST", "/profiles", &json!({"users": users})).status;
    assert!((0..100).any(|_| fill() == 507), "100 profiles of 160 kB fit into 1 MB");
    // The remaining room is too small even for the smallest object.
    let name = "x".repeat(1000);
    assert!((0..1000).any(|_| send(&full, "POST", "/users", &json!({"name": name})).status == 507));
    for (path, body) in [("/users", json!({"name": name})), ("/profiles", json!({"users": users}))] {
        document.check("POST", path, &send(&full, "POST", path, &body));
        let (one, real) = (format!("{path}/{{id}}"), format!("{path}/{ID}"));
        document.check("PUT", &one, &send(&full, "PUT", &real, &body));
    }
}

/// Checks operations independently of the requests of the test above.
#[test]
fn undescribed_methods_are_refused() {
    let server = start(&[]);
    let document = get(&server, "/openapi.json").json();
    for (path, item) in document["paths"].as_object().unwrap() {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH"] {
            let is_described = item[method.to_lowercase()].is_object();
            let answer = ask(server.address, method, &path.replace("{id}", ID), &[], "");
            // For the other methods, `drop` is an invalid ID.
            let is_there = answer.status != 405 && !(path.ends_with("/drop") && answer.status == 400);
            assert_eq!(is_there, is_described, "{method} {path}: {}", answer.status);
        }
    }
}
