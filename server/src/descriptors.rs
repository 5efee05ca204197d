//! File descriptors: each connection takes one, and the operating system limits
//! their number.

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::http::listen::Connections;

/// Descriptors for everything but connections: the log, listeners, model files,
/// file events.
const OTHERS: u64 = 64;

/// Connections of the admin listener, at most.
const ADMIN: usize = 16;

/// The limits with as many connections as there are file descriptors. The soft
/// limit of the process is raised where the hard limit allows it.
pub(crate) fn fitted(wanted: Connections) -> Connections {
    let needed = wanted.descriptors() as u64 + OTHERS;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < needed) {
        limit.current = Some(limit.maximum.map_or(needed, |most| most.min(needed)));
        // The smaller limit stays, and is read below.
        let _ = setrlimit(Resource::Nofile, limit);
    }
    let available = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let fitted = fit(wanted, available);
    if fitted.most < wanted.most {
        tracing::warn!(
            descriptors = available,
            max_connections = fitted.most,
            "--max-connections is lowered to fit the limit on file descriptors; raise the limit \
             with `ulimit -n`"
        );
    }
    fitted
}

/// The limits of the admin listener.
pub(crate) fn of_admin(public: Connections) -> Connections {
    Connections {
        most: public.most.min(ADMIN),
        ..public
    }
}

fn fit(wanted: Connections, available: u64) -> Connections {
    let available = usize::try_from(available.saturating_sub(OTHERS)).unwrap_or(usize::MAX);
    let most = (1..=wanted.most).rev();
    let fits = |most: &usize| {
        Connections {
            most: *most,
            ..wanted
        }
        .descriptors()
            <= available
    };
    Connections {
        most: most.into_iter().find(fits).unwrap_or(1),
        ..wanted
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn connections_fit_the_descriptors() {
        let wanted = Connections {
            most: 1024,
            per_address: None,
            header_timeout: Duration::from_secs(1),
            write_timeout: Duration::from_secs(1),
        };
        assert_eq!(fit(wanted, 1_000_000).most, 1024);
        for available in [100, 256, 1024, 1100] {
            let fitted = fit(wanted, available);
            assert!(fitted.descriptors() as u64 + OTHERS <= available);
            let more = Connections {
                most: fitted.most + 1,
                ..wanted
            };
            assert!(
                more.descriptors() as u64 + OTHERS > available,
                "{available}"
            );
        }
        assert_eq!(fit(wanted, 3).most, 1);
    }
}
