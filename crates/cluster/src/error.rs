//! Errors of an API server, in words.

use std::{error::Error, io, time::Duration};

use kube::{
    client::{AuthError, RustlsTlsError},
    config::{KubeconfigError, LoadDataError},
};

use crate::{proxy, timeouts::CONNECT};

/// Replaced by one with its name where that is known.
pub(crate) const LOGIN_PROGRAM: &str = "the program by which the kubeconfig logs in (exec)";
/// As much of what a program says when it fails as is shown.
const SAID_MAX: usize = 500;

/// Why a call to the API server failed.
#[derive(Debug)]
pub(crate) enum Call {
    Failed(kube::Error),
    TimedOut(Duration),
}

impl Call {
    /// The HTTP status that the API server answered with, if it did.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Failed(kube::Error::Api(status)) => Some(status.code),
            _ => None,
        }
    }

    /// The namespace is on its way out, and all that is in it.
    pub(crate) fn namespace_ends(&self) -> bool {
        let Self::Failed(kube::Error::Api(status)) = self else { return false };
        let causes = status.details.iter().flat_map(|details| &details.causes);
        causes.into_iter().any(|cause| cause.reason == "NamespaceTerminating")
    }

    /// What happened, without where.
    pub(crate) fn words(&self) -> String {
        match self {
            Self::Failed(error) => words(error),
            Self::TimedOut(after) => format!("no answer within {} s", after.as_secs()),
        }
    }

    /// Whether the API server may answer another time: it could not be reached, or said that it cannot answer now.
    pub(crate) fn is_temporary(&self) -> bool {
        match self {
            Self::TimedOut(_) => true,
            Self::Failed(kube::Error::Api(status)) => matches!(status.code, 429 | 500..=599),
            Self::Failed(
                error @ (kube::Error::HyperError(_) | kube::Error::Service(_) | kube::Error::ReadEvents(_)),
            ) => found::<proxy::Failed>(error).is_none_or(proxy::Failed::is_temporary),
            Self::Failed(_) => false,
        }
    }
}

/// An error of the client in words that a user understands.
pub(crate) fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if !status.message.is_empty() => status.message.clone(),
        kube::Error::Api(status) => format!("HTTP status {} {}", status.code, status.reason),
        kube::Error::InferKubeconfig(error) => of_kubeconfig(error),
        kube::Error::SerdeError(error) => format!("cannot parse its answer: {error}"),
        kube::Error::RustlsTls(RustlsTlsError::InvalidServerName(error)) => {
            format!("tls-server-name: {error}")
        }
        // The line that it shows may be the key.
        kube::Error::RustlsTls(RustlsTlsError::InvalidIdentityPem(_)) => {
            "client-certificate, client-key: not in PEM".to_owned()
        }
        error => deepest(error),
    }
}

/// What is wrong with a kubeconfig, without what the file has there.
pub(crate) fn of_kubeconfig(error: &KubeconfigError) -> String {
    match error {
        KubeconfigError::LoadCertificateAuthority(_) | KubeconfigError::ParseCertificates(_) => {
            format!("certificate-authority: {}", deepest(error))
        }
        KubeconfigError::LoadClientCertificate(_) => format!("client-certificate: {}", deepest(error)),
        KubeconfigError::LoadClientKey(_) => format!("client-key: {}", deepest(error)),
        KubeconfigError::ParseClusterUrl(_) => format!("server: {}", deepest(error)),
        KubeconfigError::LoadClusterOfContext(cluster) => {
            format!("it names the cluster {cluster:?}, which is not among the clusters there")
        }
        error => deepest(error),
    }
}

/// A parser's message without the lines of the text, and without what it repeats of them: in quotes, or after a colon.
fn without_excerpts(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(first);
    let clauses = if first.starts_with("line ") { 2 } else { 1 };
    let first = first.match_indices(": ").nth(clauses - 1).map_or(first, |(end, _)| &first[..end]);
    let mut shown = String::new();
    let mut rest = first;
    while let Some(begin) = rest.find(['"', '`', '\'']) {
        let (before, quoted) = rest.split_at(begin);
        let quote = &quoted[..1];
        shown.push_str(before);
        let Some(end) = quoted[1..].rfind(quote) else {
            rest = "";
            shown.push('…');
            break;
        };
        let inside = &quoted[1..=end];
        // One character is the parser's own: a bracket that is not closed.
        shown.push_str(if inside.chars().count() == 1 { &quoted[..end + 2] } else { "…" });
        rest = &quoted[end + 2..];
    }
    shown.push_str(rest);
    shown
}

/// Whether the program by which the kubeconfig logs in is not there.
pub(crate) fn is_missing_program(error: &kube::Error) -> bool {
    let is_missing = |error: &AuthError| matches!(error, AuthError::AuthExecStart(error) if error.kind() == io::ErrorKind::NotFound);
    found(error).is_some_and(is_missing)
}

/// The one of this type among an error and its causes.
fn found<'a, E: Error + 'static>(mut error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    loop {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        error = error.source()?;
    }
}

/// What to do about an API server that could not be asked.
pub(crate) fn next(words: &str) -> &'static str {
    if words.contains("the token of") || words.contains("(exec)") {
        "log in again, or choose another --context or --kubeconfig"
    } else if words.contains(" proxy") {
        "is the proxy right, and is this server to be reached through it? NO_PROXY lists those that are not; \
         the proxy-url of a kubeconfig comes before HTTPS_PROXY and is for every server"
    } else if words.contains("certificate") {
        "does the kubeconfig's certificate-authority belong to this server, and the server's certificate to this address?"
    } else {
        "is the cluster running, and can it be reached from here?"
    }
}

/// The error at the bottom says what happened, such as `Connection refused`, except where one above it knows the file, or the
/// bottom would show a secret.
pub(crate) fn deepest(error: &(dyn Error + 'static)) -> String {
    let mut error = error;
    loop {
        if let Some(words) = known(error) {
            return words;
        }
        let Some(source) = error.source() else { break };
        error = source;
    }
    match error.to_string() {
        // Of the only thing here that has a deadline of its own.
        words if words == "deadline has elapsed" => format!("no connection within {} s", CONNECT.as_secs()),
        words => words,
    }
}

fn known(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(KubeconfigError::Parse(error)) = error.downcast_ref() {
        return Some(without_excerpts(&error.to_string()));
    }
    // The innermost one is reached from these by `words`, so that it says whose file or text it is.
    if let Some(LoadDataError::ReadFile(error, path)) = error.downcast_ref() {
        return Some(format!("{}: {error}", path.display()));
    }
    Some(match error.downcast_ref::<AuthError>()? {
        AuthError::AuthExecStart(error) => {
            format!("{LOGIN_PROGRAM} cannot be run: {error}")
        }
        // Its arguments and its output may be secret; what it complains about is for people.
        AuthError::AuthExecRun { out, .. } => {
            let said = String::from_utf8_lossy(&out.stderr);
            let said: String = said.trim().chars().take(SAID_MAX).collect();
            let said = if said.is_empty() { "it said nothing".to_owned() } else { said };
            format!("{LOGIN_PROGRAM} failed ({}): {said}", out.status)
        }
        AuthError::AuthExecParse(error) => format!(
            "what the program by which the kubeconfig logs in (exec) printed is not an ExecCredential: {}",
            without_excerpts(&error.to_string())
        ),
        AuthError::ExecPluginFailed => {
            "the program by which the kubeconfig logs in (exec) printed no credential".to_owned()
        }
        AuthError::InvalidBearerToken(_) => {
            "the token of the kubeconfig's tokenFile or login program has line breaks or other characters that cannot \
             be sent"
                .to_owned()
        }
        // It shows what was printed.
        AuthError::MalformedTokenExpirationDate(_) => {
            "the program by which the kubeconfig logs in (exec) printed an expirationTimestamp that is not a time".to_owned()
        }
        AuthError::ReadTokenFile(error, path) => format!("token file {}: {error}", path.display()),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::ExitStatusExt as _,
        process::{ExitStatus, Output},
    };

    use kube::core::Status;

    use super::*;

    #[test]
    fn what_a_parser_quotes_is_left_out() {
        for (message, shown) in [
            (
                "error: line 1 column 1: unclosed bracket '['\n --> <input>",
                "line 1 column 1: unclosed bracket '['",
            ),
            ("invalid type: string \"HUNTER\\\"2\", expected a map", "invalid type"),
            (
                "line 2 column 1: duplicate mapping key: HUNTER2, set",
                "line 2 column 1: duplicate mapping key",
            ),
            ("unknown variant `HUNTER2`, expected `a`", "unknown variant …"),
            ("an 'unclosed", "an …"),
        ] {
            assert_eq!(without_excerpts(message), shown);
        }
    }

    #[test]
    fn what_a_login_program_printed_and_was_given_is_not_shown() {
        let out = Output {
            status: ExitStatus::from_raw(3 << 8),
            stdout: b"HUNTER2".to_vec(),
            stderr: b"log in first\n".to_vec(),
        };
        let failed =
            AuthError::AuthExecRun { cmd: "login --password HUNTER2".to_owned(), out: Box::new(out) };
        let words = words(&kube::Error::Auth(failed));
        assert!(words.contains("exit status: 3") && words.ends_with("log in first"), "{words}");
        assert!(!words.contains("HUNTER2"), "{words}");
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named() {
        let gone = || io::Error::from(io::ErrorKind::NotFound);
        let token = kube::Error::Auth(AuthError::ReadTokenFile(gone(), "/run/token".into()));
        assert!(words(&token).contains("/run/token"));
        let key = KubeconfigError::LoadClientKey(LoadDataError::ReadFile(gone(), "/run/key".into()));
        let words = words(&kube::Error::InferKubeconfig(key));
        assert!(words.contains("client-key: /run/key"), "{words}");
    }

    #[test]
    fn what_to_do_fits_what_happened() {
        assert!(next("invalid peer certificate: UnknownIssuer").contains("certificate-authority"));
        assert!(next("the program by which the kubeconfig logs in (exec) failed").contains("log in again"));
        assert!(next("Connection refused (os error 111)").contains("is the cluster running"));
    }

    #[test]
    fn a_proxy_that_refuses_for_good_is_not_asked_again() {
        let refused = |answer: &str, forever| proxy::Failed::Refused {
            server: "api.test:6443".to_owned(),
            answer: answer.to_owned(),
            forever,
        };
        for (failed, temporary) in [
            (refused("403 Forbidden", true), false),
            (refused("503 Service Unavailable", false), true),
            (proxy::Failed::User, false),
            (proxy::Failed::NoProxy("HTTP"), false),
            (proxy::Failed::Closed, true),
        ] {
            let call = Call::Failed(kube::Error::Service(Box::new(failed.clone())));
            assert_eq!(call.is_temporary(), temporary, "{failed}");
            assert!(next(&call.words()).contains("NO_PROXY"), "{failed}");
        }
    }

    #[test]
    fn what_passes_by_itself_is_temporary() {
        let answered =
            |code| Call::Failed(kube::Error::Api(Box::new(Status::failure("", "").with_code(code))));
        let unreachable = Call::Failed(kube::Error::Service("connection refused".into()));
        assert!(Call::TimedOut(Duration::ZERO).is_temporary() && unreachable.is_temporary());
        for (code, temporary) in [(400, false), (401, false), (403, false), (404, false), (409, false)]
            .into_iter()
            .chain([(429, true), (500, true), (503, true)])
        {
            assert_eq!(answered(code).is_temporary(), temporary, "{code}");
        }
    }
}
