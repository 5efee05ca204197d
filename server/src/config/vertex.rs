//! The environment variables that Vertex AI sets for a container: the port to
//! listen on, and the paths of health checks and of predictions.

use clap::Args;

use crate::http::protocol::Paths;

/// They are set by Vertex AI and not by people, so the help does not list them.
#[derive(Clone, Debug, Default, Args)]
pub struct VertexFlags {
    /// Port to listen on, where `--port` is not given.
    #[arg(long, env = "AIP_HTTP_PORT", hide = true)]
    aip_http_port: Option<String>,

    /// Path of health checks.
    #[arg(long, env = "AIP_HEALTH_ROUTE", hide = true)]
    aip_health_route: Option<String>,

    /// Path of predictions.
    #[arg(long, env = "AIP_PREDICT_ROUTE", hide = true)]
    aip_predict_route: Option<String>,
}

impl VertexFlags {
    /// The port.
    pub(super) fn port(&self) -> Option<&str> {
        self.aip_http_port.as_deref()
    }

    /// The paths.
    pub(super) fn paths(&self) -> Paths {
        Paths {
            health: self.aip_health_route.clone(),
            predict: self.aip_predict_route.clone(),
        }
    }
}
