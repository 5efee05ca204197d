//! `make cuda-plans`: whether the real cuDNN has a plan for every convolution of
//! the family, on cards that need not be here. A line a card; a status of 1
//! where a plan is missing or wants more workspace than the tuner allows.
//! Arguments: number types (f16 if none), `--quick` for one network.

use std::process::ExitCode;
use std::time::Instant;

use model::cuda::{Number, Planned, plan_for};
use model::graph::Graph;
use model::{build, family};

/// The tuner's limit.
const WORKSPACE: usize = 256 << 20;

/// The batch sizes that lanes capture by default.
const BATCHES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// Cards, and their properties where they matter to cuDNN.
#[rustfmt::skip]
const CARDS: [(&str, [u64; 8]); 5] = [
    // compute    multi-      shared memory  threads and blocks   L2,  clock,     memory,
    // capability processors  of a block     of a multiprocessor  MiB  kHz        GiB
    ("Tesla T4",
        [750,      40,         65_536,        1024,  16,            4, 1_590_000,  16]),
    ("NVIDIA A100-SXM4-80GB",
        [800,     108,        166_912,        2048,  32,           40, 1_410_000,  80]),
    ("NVIDIA L4",
        [890,      58,        101_376,        1536,  24,           48, 2_040_000,  24]),
    ("NVIDIA H100 80GB HBM3",
        [900,     132,        232_448,        2048,  32,           50, 1_980_000,  80]),
    ("NVIDIA B200",
        [1000,    148,        232_448,        2048,  32,          126, 1_965_000, 180]),
];

/// A card as cuDNN writes and reads it.
fn json((name, properties): (&str, [u64; 8])) -> String {
    let [
        capability,
        multiprocessors,
        shared,
        threads,
        blocks,
        l2,
        clock,
        memory,
    ] = properties;
    let (l2, memory) = (l2 << 20, memory << 30);
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

/// A line of one card's plans, and some of what is wrong or cut up; whether
/// nothing is wrong.
fn report(card: (&str, [u64; 8]), graphs: &[Graph], number: Number) -> model::Result<bool> {
    let (name, number_name) = (card.0, number.name());
    let (major, minor) = number.capability();
    if card.1[0] < 100 * major as u64 + 10 * minor as u64 {
        println!("{name} has no {number_name}, and is refused");
        return Ok(true);
    }
    let start = Instant::now();
    let planned = plan_for(&json(card), graphs, &BATCHES, number)?;
    let workspace = |p: &Planned| p.plan.as_ref().map_or(0, |(_, w)| *w);
    let largest = planned.iter().map(workspace).max().unwrap_or(0);
    let wrong: Vec<_> = planned
        .iter()
        .filter(|p| p.plan.is_err() || workspace(p) > WORKSPACE)
        .collect();
    let first = planned.iter().filter(|p| matches!(p.plan, Ok((0, _))));
    let parted: Vec<_> = planned.iter().filter(|p| p.parts > 1).collect();
    println!(
        "{name} in {number_name}: {} of {} convolutions have a plan, {} the first engine named, \
         {} in parts of the batch; largest workspace {:.1} MiB; {:.0} s",
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
    Ok(wrong.is_empty())
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
        for card in CARDS {
            sound &= report(card, &graphs, number)?;
        }
    }
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
