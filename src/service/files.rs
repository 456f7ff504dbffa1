//! How many files the process may have open, and which listener may use how many of them.
//!
//! Each connection is an open file, and so are those of the store. Divided at the start, nobody's
//! connections take the files of anything else: health and metrics answer, webhooks come in and the
//! store goes on, whatever callers of gRPC do.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::config::Config;

/// What the store, the logs and the runtime need, beside what is being accepted.
const OWN: usize = 96;
/// Connections of the internal listener: those of a few probes and a scraper.
const INTERNAL: usize = 32;
/// The fewest connections a listener holds, however few files there are.
const LEAST: usize = 8;

/// Which listener holds how many connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Files {
    pub(super) internal: usize,
    pub(super) http: usize,
    pub(super) grpc: usize,
}

/// Lets the process open as many files as the system allows it to. Where that fails the old limit
/// stays, and is heeded.
pub fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if let Err(error) = setrlimit(Resource::Nofile, raised) {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
    }
}

/// What each listener may use. Where that is less than the configuration says, it is logged.
pub(super) fn divide(config: &Config) -> Files {
    let limit = getrlimit(Resource::Nofile).current;
    let limit = limit.map(|limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let wanted = Files {
        internal: INTERNAL,
        http: config.listen.http_connections,
        grpc: config.listen.grpc_connections,
    };
    let routes = config.routes.iter().map(|route| route.concurrency as usize);
    let calls = config.callbacks.concurrency + routes.sum::<usize>();
    let files = wanted.within(limit.unwrap_or(usize::MAX), calls);
    if files != wanted {
        tracing::warn!(
            limit = limit.unwrap_or(usize::MAX),
            http_connections = files.http,
            grpc_connections = files.grpc,
            internal_connections = files.internal,
            "the limit of open files (ulimit -n, LimitNOFILE) is low: fewer connections are held at once \
             than the configuration says, and {} would be enough",
            wanted.http + wanted.grpc + wanted.internal + calls + OWN
        );
    }
    files
}

impl Files {
    /// The same, as far as `limit` open files go beside `calls` that this service makes itself.
    fn within(self, limit: usize, calls: usize) -> Files {
        // Calls wait for each other's files; they are given a quarter at least.
        let left = limit.saturating_sub(OWN);
        let left = left - calls.min(left / 4);
        let internal = self.internal.min(left / 8).max(LEAST);
        let left = left.saturating_sub(internal);
        // What one does not want is the other's.
        let http = self.http.min((left / 2).max(left.saturating_sub(self.grpc))).max(LEAST);
        let grpc = self.grpc.min(left.saturating_sub(http)).max(LEAST);
        Files { internal, http, grpc }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: Files = Files { internal: 32, http: 1024, grpc: 1024 };

    #[test]
    fn with_files_enough_each_has_what_it_wants() {
        assert_eq!(WANTED.within(usize::MAX, 128), WANTED);
        assert_eq!(WANTED.within(1024 + 1024 + 32 + OWN + 128, 128), WANTED);
    }

    #[test]
    fn few_files_are_divided_and_never_exceeded() {
        for limit in 128..3000 {
            let Files { internal, http, grpc } = WANTED.within(limit, 96);
            let used = internal + http + grpc + OWN + 96.min((limit - OWN) / 4);
            assert!(used <= limit, "{used} of {limit}");
            assert!(internal >= LEAST && http >= LEAST && grpc >= LEAST, "{limit}");
        }
        assert_eq!(WANTED.within(1024, 96), Files { internal: 32, http: 400, grpc: 400 });
    }

    #[test]
    fn what_one_does_not_want_is_the_other_s() {
        let uneven = Files { grpc: 50, ..WANTED };
        assert_eq!(uneven.within(1024, 96), Files { internal: 32, http: 750, grpc: 50 });
    }
}
