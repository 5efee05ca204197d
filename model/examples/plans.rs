//! `make cuda-plans`: whether the real cuDNN has a plan for every convolution of
//! the family, on cards that need not be here. A line a card; a status of 1
//! where a plan is missing or wants more workspace than the tuner allows.
//! Arguments: number types (f16 if none), `--quick` for one network.

use std::process::ExitCode;
use std::time::Instant;

use model::cuda::{Number, plan_for};
use model::{build, family};

/// The tuner's limit.
const WORKSPACE: usize = 256 << 20;

/// The batch sizes that lanes capture by default.
const BATCHES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// A card's properties, where they matter to cuDNN.
struct Card {
    name: &'static str,
    /// Compute capability times a hundred.
    capability: u32,
    multiprocessors: u32,
    /// Shared memory a block may ask for.
    shared: u32,
    /// Threads and blocks of a multiprocessor.
    threads: u32,
    blocks: u32,
    /// MiB
    l2: u64,
    /// kHz
    clock: u32,
    /// GiB
    memory: u64,
}

const CARDS: [Card; 5] = [
    card("Tesla T4", 750, 40, 65_536, 1024, 16, 4, 1_590_000, 16),
    card(
        "NVIDIA A100-SXM4-80GB",
        800,
        108,
        166_912,
        2048,
        32,
        40,
        1_410_000,
        80,
    ),
    card("NVIDIA L4", 890, 58, 101_376, 1536, 24, 48, 2_040_000, 24),
    card(
        "NVIDIA H100 80GB HBM3",
        900,
        132,
        232_448,
        2048,
        32,
        50,
        1_980_000,
        80,
    ),
    card(
        "NVIDIA B200",
        1000,
        148,
        232_448,
        2048,
        32,
        126,
        1_965_000,
        180,
    ),
];

#[allow(clippy::too_many_arguments, reason = "a row of a table")]
const fn card(
    name: &'static str,
    capability: u32,
    multiprocessors: u32,
    shared: u32,
    threads: u32,
    blocks: u32,
    l2: u64,
    clock: u32,
    memory: u64,
) -> Card {
    Card {
        name,
        capability,
        multiprocessors,
        shared,
        threads,
        blocks,
        l2,
        clock,
        memory,
    }
}

impl Card {
    /// As cuDNN writes and reads it.
    fn json(&self) -> String {
        let Self {
            name,
            capability,
            multiprocessors,
            shared,
            threads,
            blocks,
            clock,
            ..
        } = self;
        let (l2, memory) = (self.l2 << 20, self.memory << 30);
        format!(
            r#"{{"maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64],
            "regsPerBlock": 65536, "multiProcessorCount": {multiprocessors}, "warpSize": 32,
            "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": {shared},
            "reservedSharedMemoryPerBlock": 1024, "maxRegistersPerSM": 65536,
            "maxCtasPerSM": {blocks}, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": {threads},
            "pciDeviceId": 0, "isTccDriver": 0, "supportCoopLaunch": 1, "smClockRateKHz": {clock},
            "memClockRateKHz": 2619000, "l2CacheSize": {l2}, "deviceName": "{name}",
            "cudaDeviceId": 0, "deviceVer": {capability}, "driverVer": 13000,
            "totalGlobalMem": {memory}}}"#
        )
    }
}

fn main() -> model::Result<ExitCode> {
    let (mut numbers, mut quick) = (Vec::new(), false);
    for argument in std::env::args().skip(1) {
        let all = [Number::F16, Number::Bf16, Number::F32];
        match all.into_iter().find(|number| number.name() == argument) {
            Some(number) => numbers.push(number),
            None if argument == "--quick" => quick = true,
            None => {
                eprintln!("{argument} is none of f16, bf16, f32 and --quick");
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    if numbers.is_empty() {
        numbers.push(Number::F16);
    }
    let rows = family::FAMILY.iter();
    let rows = rows.filter(|row| !quick || row.name == "resnet50");
    let graphs: Vec<_> = rows
        .map(|row| build::build(row, row.input, row.classes))
        .collect();
    let mut sound = true;
    for number in numbers {
        for card in &CARDS {
            let start = Instant::now();
            let planned = plan_for(&card.json(), &graphs, &BATCHES, number)?;
            let workspace = |p: &model::cuda::Planned| p.plan.as_ref().map_or(0, |(_, w)| *w);
            let largest = planned.iter().map(workspace).max().unwrap_or(0);
            let wrong: Vec<_> = planned
                .iter()
                .filter(|p| p.plan.is_err() || workspace(p) > WORKSPACE)
                .collect();
            let first = planned.iter().filter(|p| matches!(p.plan, Ok((0, _))));
            let parted: Vec<_> = planned.iter().filter(|p| p.parts > 1).collect();
            println!(
                "{} in {}: {} of {} convolutions have a plan, {} the first engine named, \
                 {} in parts of the batch; largest workspace {:.1} MiB; {:.0} s",
                card.name,
                number.name(),
                planned.len() - wrong.len(),
                planned.len(),
                first.count(),
                parted.len(),
                largest as f64 / f64::from(1 << 20),
                start.elapsed().as_secs_f64(),
            );
            for p in wrong.iter().chain(&parted).take(10) {
                let (convolution, parts, engines) = (&p.convolution, p.parts, p.engines);
                println!(
                    "    {convolution}, {parts} parts, {engines} engines: {:?}",
                    p.plan
                );
            }
            sound &= wrong.is_empty();
        }
    }
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
