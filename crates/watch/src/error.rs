//! How errors of the API server read in log lines and messages.

use std::{error::Error, fmt};

/// An error and its causes on one line, without the debug output that kube's own text carries.
#[derive(Debug)]
pub struct ErrorText<'e>(pub &'e kube::Error);

impl fmt::Display for ErrorText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let kube::Error::Api(status) = self.0 {
            let message = status.message.trim();
            let message = if message.is_empty() { &status.reason } else { message };
            return write!(f, "{message} (HTTP {})", status.code);
        }
        ErrorChain(self.0).fmt(f)
    }
}

/// An error and its causes on one line. A cause that its parent's text already ends with is left out.
#[derive(Debug)]
pub struct ErrorChain<'e>(pub &'e dyn Error);

impl fmt::Display for ErrorChain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.to_string();
        f.write_str(&said)?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            let text = cause.to_string();
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said = text;
            }
            next = cause.source();
        }
        Ok(())
    }
}

/// Whether the API server says that there is no such object, or no such resource.
#[must_use]
pub fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404 || status.is_not_found())
}

#[cfg(test)]
mod tests {
    use super::*;
    use kube::core::Status;

    #[test]
    fn an_answer_reads_as_one_line() {
        let forbidden =
            Status::failure("clusters.cluster.x-k8s.io is forbidden: User \"x\"", "Forbidden").with_code(403);
        assert_eq!(
            ErrorText(&kube::Error::Api(forbidden.boxed())).to_string(),
            "clusters.cluster.x-k8s.io is forbidden: User \"x\" (HTTP 403)"
        );
        let bare = Status::failure("", "NotFound").with_code(404);
        let bare = kube::Error::Api(bare.boxed());
        assert_eq!(ErrorText(&bare).to_string(), "NotFound (HTTP 404)");
        assert!(is_not_found(&bare));
    }
}
