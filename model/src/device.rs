//! Devices that run networks.

use std::fmt;
use std::str::FromStr;

/// A device, or several GPUs that share the work: `cpu`, `cuda`, `cuda:N` or
/// `cuda:N,M`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Device {
    /// The CPU.
    Cpu,
    /// NVIDIA GPUs by their ordinals, at least one, each named once.
    Cuda(Vec<usize>),
}

impl Device {
    /// Whether it is the CPU: forward passes then compute on the caller's
    /// thread pool.
    #[must_use]
    pub fn is_cpu(&self) -> bool {
        *self == Self::Cpu
    }
}

impl FromStr for Device {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(vec![0])),
            _ => text
                .strip_prefix("cuda:")
                .and_then(ordinals)
                .map(Self::Cuda)
                .ok_or_else(|| format!("`{text}` is not cpu, cuda, cuda:N or cuda:N,M")),
        }
    }
}

/// StoredDtype separated by commas, all different.
fn ordinals(text: &str) -> Option<Vec<usize>> {
    let all: Vec<usize> = text
        .split(',')
        .map(|n| n.parse().ok())
        .collect::<Option<_>>()?;
    let mut distinct = all.clone();
    distinct.sort_unstable();
    distinct.dedup();
    (distinct.len() == all.len()).then_some(all)
}

impl fmt::Display for Device {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(gpus) => {
                let ordinals: Vec<String> = gpus.iter().map(ToString::to_string).collect();
                write!(f, "cuda:{}", ordinals.join(","))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_parsed_from_its_own_text() {
        for text in ["cpu", "cuda:0", "cuda:3", "cuda:0,1"] {
            let device: Device = text.parse().unwrap();
            assert_eq!(device.to_string(), text);
            assert_eq!(device.is_cpu(), text == "cpu");
        }
        assert_eq!("cuda".parse(), Ok(Device::Cuda(vec![0])));
        for text in ["auto", "gpu", "cuda:", "cuda:x", "cuda:0,", "cuda:1,1"] {
            assert!(text.parse::<Device>().is_err(), "{text}");
        }
    }
}
