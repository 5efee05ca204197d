//! Where traces are exported to: two flags, else the standard environment variables of
//! OpenTelemetry. The SDK reads the others (headers, timeouts, resource attributes).

use opentelemetry_sdk::trace::Sampler;

use crate::config::errors::Origin;
use crate::config::settings::Settings;
use crate::config::value::Given;

/// The path of traces below an endpoint of HTTP.
const TRACES: &str = "v1/traces";

/// Spans that wait to be exported, where OTEL_BSP_MAX_QUEUE_SIZE does not say it.
const QUEUE: usize = 2048;

const SAMPLERS: &str = "must be always_on, always_off, traceidratio, parentbased_always_on, \
                        parentbased_always_off or parentbased_traceidratio";

/// The flags as text.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Log")]
pub struct TelemetryFlags {
    /// Collector that receives traces by OTLP, as `http://HOST:PORT`, or off
    /// [default: OTEL_EXPORTER_OTLP_ENDPOINT, else off]
    #[arg(long, env = "RESNET_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,

    /// Protocol of the collector: grpc or http/protobuf
    /// [default: OTEL_EXPORTER_OTLP_PROTOCOL, else http/protobuf]
    #[arg(long, env = "RESNET_OTLP_PROTOCOL", value_name = "PROTOCOL")]
    otlp_protocol: Option<String>,
}

/// The protocols of OTLP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OtlpProtocol {
    /// gRPC.
    Grpc,
    /// Protocol Buffers over HTTP/1.1.
    #[default]
    Http,
}

/// How traces are exported.
#[derive(Clone, Debug)]
pub struct TelemetryConfig {
    /// The URL that spans are sent to.
    pub endpoint: String,
    /// How they are sent.
    pub protocol: OtlpProtocol,
    /// Which traces are exported.
    pub sampler: Sampler,
    /// The most spans that wait to be exported.
    pub queue: usize,
}

/// Reads an environment variable; one that is empty counts as absent.
type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

impl TelemetryFlags {
    /// Reads the settings; invalid ones are added to the errors. `None` where no traces
    /// are exported.
    pub fn read(&self, settings: &mut Settings) -> Option<TelemetryConfig> {
        let variable = |name: &str| std::env::var(name).ok().filter(|text| !text.is_empty());
        self.read_with(settings, &variable)
    }

    fn read_with(
        &self,
        settings: &mut Settings,
        variables: Variables<'_>,
    ) -> Option<TelemetryConfig> {
        let given = settings.find("otlp-endpoint", self.otlp_endpoint.as_deref());
        let is_off = |name: &str, off: &str| {
            variables(name).is_some_and(|text| text.eq_ignore_ascii_case(off))
        };
        let is_disabled =
            is_off("OTEL_SDK_DISABLED", "true") || is_off("OTEL_TRACES_EXPORTER", "none");
        let from_variables = || match is_disabled {
            true => None,
            false => endpoint_of_variables(variables),
        };
        let (given, has_path) = match given {
            Some(given) => (given, false),
            None => from_variables()?,
        };
        if given.text.trim() == "off" {
            return None;
        }
        let protocol = self.protocol(settings, variables);
        let endpoint = settings.parse(&given, |text| match protocol {
            OtlpProtocol::Http if !has_path => {
                url(text).map(|url| format!("{}/{TRACES}", url.trim_end_matches('/')))
            }
            _ => url(text),
        });
        let of_sampler = given_variable(variables, "OTEL_TRACES_SAMPLER", "parentbased_always_on");
        let ratio = given_variable(variables, "OTEL_TRACES_SAMPLER_ARG", "1");
        let ratio = settings.parse(&ratio, ratio_of);
        let sampler = settings.parse(&of_sampler, |text| sampler(text, ratio).map(Some));
        let size = QUEUE.to_string();
        let queue = given_variable(variables, "OTEL_BSP_MAX_QUEUE_SIZE", &size);
        let queue = settings.parse(&queue, |text| {
            let queue = text.parse::<usize>().ok().filter(|queue| *queue > 0);
            queue.ok_or("must be a number above 0")
        });
        Some(TelemetryConfig {
            endpoint,
            protocol,
            // The default stands for one with an error.
            sampler: sampler.unwrap_or(Sampler::AlwaysOff),
            queue,
        })
    }

    fn protocol(&self, settings: &mut Settings, variables: Variables<'_>) -> OtlpProtocol {
        let given = settings.find("otlp-protocol", self.otlp_protocol.as_deref());
        let given = given.unwrap_or_else(|| {
            let name = match variables("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") {
                Some(_) => "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL",
                None => "OTEL_EXPORTER_OTLP_PROTOCOL",
            };
            given_variable(variables, name, "http/protobuf")
        });
        settings.parse(&given, |text| match text {
            "grpc" => Ok(OtlpProtocol::Grpc),
            "http/protobuf" => Ok(OtlpProtocol::Http),
            _ => Err("must be grpc or http/protobuf"),
        })
    }
}

/// The endpoint that the variables name, and whether its path is complete.
fn endpoint_of_variables(variables: Variables<'_>) -> Option<(Given, bool)> {
    let named = |name: &'static str| {
        let text = variables(name)?;
        let origin = Origin::Variable(name);
        Some(Given { origin, text })
    };
    let of_traces = named("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT").map(|given| (given, true));
    of_traces.or_else(|| named("OTEL_EXPORTER_OTLP_ENDPOINT").map(|given| (given, false)))
}

fn given_variable(variables: Variables<'_>, name: &'static str, default: &str) -> Given {
    Given {
        origin: Origin::Variable(name),
        text: variables(name).unwrap_or_else(|| default.to_owned()),
    }
}

/// The URL of a collector.
fn url(text: &str) -> Result<String, &'static str> {
    let uri: axum::http::Uri = text
        .parse()
        .map_err(|_| "must be a URL such as http://localhost:4318")?;
    match (uri.scheme_str(), uri.host()) {
        (Some("http"), Some(_)) => Ok(text.to_owned()),
        (Some("https"), _) => Err(
            "https is not supported; send to a collector on this machine or in this network, \
             which forwards to others with TLS",
        ),
        _ => Err("must be a URL such as http://localhost:4318"),
    }
}

fn ratio_of(text: &str) -> Result<f64, &'static str> {
    let ratio = text
        .parse()
        .ok()
        .filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or("must be a number from 0 to 1")
}

fn sampler(name: &str, ratio: f64) -> Result<Sampler, &'static str> {
    let parent = |root| Sampler::ParentBased(Box::new(root));
    Ok(match name {
        "always_on" => Sampler::AlwaysOn,
        "always_off" => Sampler::AlwaysOff,
        "traceidratio" => Sampler::TraceIdRatioBased(ratio),
        "parentbased_always_on" => parent(Sampler::AlwaysOn),
        "parentbased_always_off" => parent(Sampler::AlwaysOff),
        "parentbased_traceidratio" => parent(Sampler::TraceIdRatioBased(ratio)),
        _ => return Err(SAMPLERS),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(
        flag: Option<&str>,
        variables: &[(&str, &str)],
    ) -> Result<Option<TelemetryConfig>, String> {
        let flags = TelemetryFlags {
            otlp_endpoint: flag.map(str::to_owned),
            otlp_protocol: None,
        };
        let mut settings = Settings::default();
        let found = |name: &str| {
            let mut found = variables.iter().filter(|(other, _)| *other == name);
            found.next().map(|(_, text)| (*text).to_owned())
        };
        let config = flags.read_with(&mut settings, &found);
        settings
            .errors
            .none_or(config)
            .map_err(|errors| errors.to_string())
    }

    fn endpoint(flag: Option<&str>, variables: &[(&str, &str)]) -> Option<String> {
        read(flag, variables).unwrap().map(|config| config.endpoint)
    }

    #[test]
    fn the_endpoint_is_the_flag_or_a_variable() {
        const BASE: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:4318/");
        const TRACES: (&str, &str) = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t:1/x");
        const GRPC: (&str, &str) = ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc");
        for (flag, variables, expected) in [
            (None, &[][..], None),
            (None, &[BASE], Some("http://a:4318/v1/traces")),
            (None, &[BASE, TRACES], Some("http://t:1/x")),
            (None, &[BASE, GRPC], Some("http://a:4318/")),
            (None, &[BASE, ("OTEL_SDK_DISABLED", "True")], None),
            (None, &[BASE, ("OTEL_TRACES_EXPORTER", "none")], None),
            (Some("off"), &[BASE], None),
            (Some("http://f:1"), &[BASE], Some("http://f:1/v1/traces")),
        ] {
            assert_eq!(
                endpoint(flag, variables).as_deref(),
                expected,
                "{variables:?}"
            );
        }
    }

    #[test]
    fn samplers_have_their_standard_names() {
        let with = |name, ratio| {
            let variables = [
                ("OTEL_TRACES_SAMPLER", name),
                ("OTEL_TRACES_SAMPLER_ARG", ratio),
            ];
            read(Some("http://a:1"), &variables)
                .map(|config| format!("{:?}", config.unwrap().sampler))
        };
        for (name, expected) in [
            (
                "parentbased_traceidratio",
                "ParentBased(TraceIdRatioBased(0.25))",
            ),
            ("always_off", "AlwaysOff"),
        ] {
            assert_eq!(with(name, "0.25").unwrap(), expected);
        }
    }

    #[test]
    fn errors_name_the_variable() {
        for (name, text, reason) in [
            (
                "OTEL_EXPORTER_OTLP_ENDPOINT",
                "https://a",
                "https is not supported",
            ),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "a:4317", "must be a URL"),
            ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json", "must be grpc"),
            ("OTEL_TRACES_SAMPLER", "jaeger_remote", "must be always_on"),
            ("OTEL_TRACES_SAMPLER_ARG", "2", "from 0 to 1"),
            ("OTEL_BSP_MAX_QUEUE_SIZE", "0", "above 0"),
        ] {
            let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://a:1");
            let error = read(None, &[(name, text), endpoint]).unwrap_err();
            assert!(error.contains(&format!("{name} {text}")), "{error}");
            assert!(error.contains(reason), "{error}");
        }
    }
}
