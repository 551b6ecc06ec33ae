//! Which service a path belongs to, and the path that the service gets.

use hyper::http::uri::PathAndQuery;

use crate::settings::Route;

/// The routes of a gateway, longest path first.
#[derive(Debug)]
pub(super) struct Routes(Vec<(String, usize)>);

impl Routes {
    /// `services`: the services' names in order.
    pub(super) fn new(routes: &[Route], services: &[&str]) -> Self {
        let index = |name: &str| services.iter().position(|service| *service == name);
        let mut found: Vec<(String, usize)> =
            routes.iter().filter_map(|route| Some((route.path.clone(), index(&route.service)?))).collect();
        found.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Self(found)
    }

    /// The service of a target and the target to request there. Paths are compared as sent, without decoding or
    /// resolving, since services do not agree on how. The query is kept.
    pub(super) fn find(&self, target: &PathAndQuery) -> Option<(usize, PathAndQuery)> {
        let path = target.path();
        self.0.iter().find_map(|(prefix, service)| {
            if prefix == "/" {
                return path.starts_with('/').then(|| (*service, target.clone()));
            }
            let rest = path.strip_prefix(prefix.as_str())?;
            if !rest.is_empty() && !rest.starts_with('/') {
                return None;
            }
            let rest = if rest.is_empty() { "/" } else { rest };
            let rest = match target.query() {
                Some(query) => format!("{rest}?{query}"),
                None => rest.to_owned(),
            };
            // The rest of a valid target is valid.
            Some((*service, PathAndQuery::from_maybe_shared(rest).ok()?))
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn routes() -> Routes {
        let route = |path: &str, service: &str| Route { path: path.into(), service: service.into() };
        let all = [
            route("/", "stream"),
            route("/main", "directory"),
            route("/main/inner", "inner"),
            route("/m", "m"),
        ];
        Routes::new(&all, &["directory", "inner", "m", "stream"])
    }

    fn found(target: &str) -> Option<(usize, String)> {
        let (service, rest) = routes().find(&PathAndQuery::try_from(target).unwrap())?;
        Some((service, rest.to_string()))
    }

    #[test]
    fn the_longest_path_wins_at_a_boundary_and_is_removed() {
        for (target, service, rest) in [
            ("/main", 0, "/"),
            ("/main/", 0, "/"),
            ("/main?a=b", 0, "/?a=b"),
            ("/main/users?x=/main", 0, "/users?x=/main"),
            ("/main//users", 0, "//users"),
            ("/main/inner", 1, "/"),
            ("/main/inner/x", 1, "/x"),
            ("/main/innerx", 0, "/innerx"),
            ("/mainx", 3, "/mainx"),
            ("/MAIN/x", 3, "/MAIN/x"),
            ("/%6dain/x", 3, "/%6dain/x"),
            ("/m/main/x", 2, "/main/x"),
            ("/", 3, "/"),
            ("/?q", 3, "/?q"),
            ("//main/x", 3, "//main/x"),
            ("/stream/u/p", 3, "/stream/u/p"),
        ] {
            assert_eq!(found(target), Some((service, rest.to_owned())), "{target}");
        }
        assert_eq!(found("*"), None);
    }

    #[test]
    fn without_a_catch_all_route_other_paths_have_none() {
        let only = [Route { path: "/main".into(), service: "directory".into() }];
        let routes = Routes::new(&only, &["directory"]);
        assert!(routes.find(&PathAndQuery::from_static("/other")).is_none());
    }

    proptest! {
        #[test]
        fn a_path_below_a_route_arrives_without_it(rest in "(/[a-z%0-9.]{0,8}){0,4}", query in "[a-z=&/?]{0,12}") {
            let (path, shown) = (format!("/main{rest}?{query}"), if rest.is_empty() { "/" } else { &rest });
            prop_assume!(!rest.starts_with("/inner"));
            prop_assert_eq!(found(&path), Some((0, format!("{shown}?{query}"))));
        }
    }
}
