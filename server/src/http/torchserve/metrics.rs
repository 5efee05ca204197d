//! TorchServe's counters in the text format of Prometheus, for dashboards that
//! were made for them: `GET /metrics?name[]=ts_inference_requests_total`.

use std::fmt::Write;

use crate::core::totals::{ModelTotals, Totals};

/// A counter: its name, its unit, and its value.
type Counter = (&'static str, &'static str, fn(&ModelTotals) -> f64);

const COUNTERS: [Counter; 3] = [
    ("ts_inference_requests_total", "Count", |totals| {
        totals.requests as f64
    }),
    (
        "ts_inference_latency_microseconds",
        "Microseconds",
        |totals| totals.total.as_secs_f64() * 1e6,
    ),
    ("ts_queue_latency_microseconds", "Microseconds", |totals| {
        totals.queue.as_secs_f64() * 1e6
    }),
];

/// The content type of the page.
pub(in crate::http) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The counters with these names.
pub(in crate::http) fn page(totals: &Totals, names: &[impl AsRef<str>], hostname: &str) -> String {
    let mut page = String::new();
    let models = totals.list();
    for (name, unit, value) in COUNTERS {
        if !names.iter().any(|asked| asked.as_ref() == name) {
            continue;
        }
        // Writing to a string does not fail.
        let _ = writeln!(
            page,
            "# HELP {name} Torchserve prometheus counter metric with unit: {unit}\n# TYPE {name} \
             counter"
        );
        for (model, version, totals) in &models {
            let _ = writeln!(
                page,
                "{name}{{model_name=\"{model}\",model_version=\"{version}\",hostname=\"{hostname}\",}} {:?}",
                value(totals)
            );
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_page_has_the_counters_that_are_asked_for() {
        let totals = Totals::default();
        for _ in 0..2 {
            let times = [Duration::from_millis(3), Duration::from_millis(1)];
            totals.add("cat", 1, times);
        }
        let names = [
            "ts_inference_requests_total",
            "ts_queue_latency_microseconds",
        ];
        assert_eq!(
            page(&totals, &names, "host"),
            "# HELP ts_inference_requests_total Torchserve prometheus counter metric with unit: \
             Count\n# TYPE ts_inference_requests_total counter\n\
             ts_inference_requests_total{model_name=\"cat\",model_version=\"1\",hostname=\"host\",} \
             2.0\n# HELP ts_queue_latency_microseconds Torchserve prometheus counter metric with \
             unit: Microseconds\n# TYPE ts_queue_latency_microseconds counter\n\
             ts_queue_latency_microseconds{model_name=\"cat\",model_version=\"1\",hostname=\"host\",} \
             2000.0\n"
        );
        assert_eq!(page(&totals, &["PredictionTime"], "host"), "");
    }
}
