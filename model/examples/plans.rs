//! `make cuda-plans`: checks that the real cuDNN has a plan for every convolution of
//! the family on several GPU models, which need not be in this machine. Prints a
//! line per GPU model. Exits with status 1 if a plan is missing or needs more
//! workspace than the tuner allows. Arguments: dtypes (f16 if none), and `--quick`
//! for a single network.

use std::process::ExitCode;
use std::time::Instant;

use resnet_model::cuda::{PlannedConvolution, plan_for};
use resnet_model::graph::Graph;
use resnet_model::{Dtype, build, family};

/// The tuner's workspace limit in bytes.
const WORKSPACE_LIMIT: usize = 256 << 20;

/// The batch sizes that are captured by default.
const BATCHES: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];

/// GPU models, with the properties that cuDNN uses.
#[rustfmt::skip]
const GPUS: [(&str, [u64; 8]); 5] = [
    // compute    multi-      shared memory  threads, blocks      L2,  clock,     memory,
    // capability processors  per block      per multiprocessor   MiB  kHz        GiB
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

/// The properties in cuDNN's JSON format.
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

/// Prints a summary of the plans for one GPU model, and up to ten plans that failed
/// or are split. Returns whether all convolutions have a plan within the limit.
fn report(gpu: (&str, [u64; 8]), graphs: &[Graph], dtype: Dtype) -> resnet_model::Result<bool> {
    let (name, dtype_name) = (gpu.0, dtype.name());
    let (major, minor) = dtype.capability();
    if gpu.1[0] < 100 * major as u64 + 10 * minor as u64 {
        println!("{name} does not support {dtype_name}");
        return Ok(true);
    }
    let start = Instant::now();
    let planned = plan_for(&json(gpu), graphs, &BATCHES, dtype)?;
    let workspace = |p: &PlannedConvolution| p.plan.as_ref().map_or(0, |(_, w)| *w);
    let largest = planned.iter().map(workspace).max().unwrap_or(0);
    let failed: Vec<_> = planned
        .iter()
        .filter(|p| p.plan.is_err() || workspace(p) > WORKSPACE_LIMIT)
        .collect();
    let first = planned.iter().filter(|p| matches!(p.plan, Ok((0, _))));
    let split: Vec<_> = planned.iter().filter(|p| p.parts > 1).collect();
    println!(
        "{name} in {dtype_name}: {} of {} convolutions have a plan, {} use cuDNN's first engine, \
         {} split the batch; largest workspace {:.1} MiB; {:.0} s",
        planned.len() - failed.len(),
        planned.len(),
        first.count(),
        split.len(),
        largest as f64 / f64::from(1 << 20),
        start.elapsed().as_secs_f64(),
    );
    for p in failed.iter().chain(&split).take(10) {
        let (convolution, parts, engines) = (&p.convolution, p.parts, p.engines);
        println!(
            "    {convolution}, {parts} parts, {engines} engines: {:?}",
            p.plan
        );
    }
    Ok(failed.is_empty())
}

fn main() -> resnet_model::Result<ExitCode> {
    let (mut dtypes, mut quick) = (Vec::new(), false);
    for argument in std::env::args().skip(1) {
        let all = [Dtype::F16, Dtype::Bf16, Dtype::F32];
        match all.into_iter().find(|dtype| dtype.name() == argument) {
            Some(dtype) => dtypes.push(dtype),
            None if argument == "--quick" => quick = true,
            None => {
                eprintln!("invalid argument {argument}: use f16, bf16, f32 or --quick");
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    if dtypes.is_empty() {
        dtypes.push(Dtype::F16);
    }
    let rows = family::FAMILY.iter();
    let rows = rows.filter(|row| !quick || row.name == "resnet50");
    let graphs: Vec<_> = rows
        .map(|row| build::build(row, row.input, row.classes))
        .collect();
    let mut passed = true;
    for dtype in dtypes {
        for gpu in GPUS {
            passed &= report(gpu, &graphs, dtype)?;
        }
    }
    Ok(if passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
