//! The pooling kernels.

use crate::host::{Argument, Buffer, Host, Value};
use crate::{SHAPES, name, noise, shape};

pub(crate) fn max_pool<T: Value>(host: &Host) {
    for (i, (kernel, stride, padding)) in [(3, 2, 1), (2, 2, 0), (3, 1, 1)].into_iter().enumerate()
    {
        for from in SHAPES {
            if from.h + 2 * padding < kernel || from.w + 2 * padding < kernel {
                continue;
            }
            let side = |side: usize| (side + 2 * padding - kernel) / stride + 1;
            let to = shape(from.n, side(from.h), side(from.w), from.c);
            // negative values, so that a zero of the padding, if it counts, is the
            // maximum
            let values: Vec<f32> = noise::<T>(from.len(), i as u32)
                .iter()
                .map(|v| v - 2.0)
                .map(|v| T::of(v).float())
                .collect();
            let x = Buffer::<T>::new(&values);
            for zeros in [false, true] {
                let mut y = Buffer::<T>::zeros(to.len());
                let count = to.len() / 8;
                let sizes = [from.c, from.h, from.w, to.h, to.w, kernel, stride, padding];
                let mut arguments = vec![x.read(), y.write()];
                arguments.extend(sizes.map(Argument::int));
                arguments.extend([usize::from(zeros), count].map(Argument::int));
                host.launch_elementwise(&name::<T>("max_pool"), count, &arguments);
                let expected = to.fill(|n, oy, ox, c| {
                    let mut best = f32::NEG_INFINITY;
                    for (iy, ix) in (0..kernel * kernel)
                        .map(|k| (oy * stride + k / kernel, ox * stride + k % kernel))
                    {
                        let inside = (padding..from.h + padding).contains(&iy)
                            && (padding..from.w + padding).contains(&ix);
                        if inside {
                            best = best.max(values[from.at(n, iy - padding, ix - padding, c)]);
                        } else if zeros {
                            best = best.max(0.0);
                        }
                    }
                    best
                });
                y.check("max_pool", &expected);
            }
        }
    }
}

pub(crate) fn average_pool<T: Value>(host: &Host) {
    for from in SHAPES {
        let size = 2;
        let to = shape(from.n, from.h.div_ceil(size), from.w.div_ceil(size), from.c);
        let values = noise::<T>(from.len(), 3);
        let x = Buffer::<T>::new(&values);
        let mut y = Buffer::<T>::zeros(to.len());
        let count = to.len() / 8;
        let mut arguments = vec![x.read(), y.write()];
        arguments.extend([from.c, from.h, from.w, to.h, to.w, size, count].map(Argument::int));
        host.launch_elementwise(&name::<T>("average_pool"), count, &arguments);
        let expected = to.fill(|n, oy, ox, c| {
            let rows = oy * size..((oy + 1) * size).min(from.h);
            let all: Vec<f32> = rows
                .flat_map(|iy| (ox * size..((ox + 1) * size).min(from.w)).map(move |ix| (iy, ix)))
                .map(|(iy, ix)| values[from.at(n, iy, ix, c)])
                .collect();
            all.iter().sum::<f32>() / all.len() as f32
        });
        y.check("average_pool", &expected);
    }
}

pub(crate) fn global_average_pool<T: Value>(host: &Host) {
    for from in SHAPES {
        let values = noise::<T>(from.len(), 4);
        let x = Buffer::<T>::new(&values);
        let mut y = Buffer::<T>::zeros(from.n * from.c);
        let grid = [(from.c as u32).div_ceil(256), from.n as u32, 1];
        let sizes = [from.c, from.h * from.w].map(Argument::int);
        let mut arguments = vec![x.read(), y.write()];
        arguments.extend(sizes);
        host.launch(
            &name::<T>("global_average_pool"),
            grid,
            [32, 8, 1],
            &arguments,
        );
        let expected = shape(from.n, 1, 1, from.c).fill(|n, _, _, c| {
            let pixels = (0..from.h * from.w).map(|p| values[from.at(n, 0, p, c)]);
            pixels.sum::<f32>() / (from.h * from.w) as f32
        });
        y.check("global_average_pool", &expected);
    }
}

pub(crate) fn blur_pool<T: Value>(host: &Host) {
    for from in SHAPES {
        let to = shape(from.n, from.h.div_ceil(2), from.w.div_ceil(2), from.c);
        let values = noise::<T>(from.len(), 18);
        let x = Buffer::<T>::new(&values);
        let mut y = Buffer::<T>::zeros(to.len());
        let count = to.len() / 8;
        let mut arguments = vec![x.read(), y.write()];
        arguments.extend([from.c, from.h, from.w, to.h, to.w, count].map(Argument::int));
        host.launch_elementwise(&name::<T>("blur_pool"), count, &arguments);
        // pixel `offset` beside pixel `2 i`, reflected
        let at = |i: usize, offset: usize, side: usize| match (2 * i + offset).checked_sub(1) {
            None => 1.min(side - 1),
            Some(at) if at < side => at,
            Some(_) => side.saturating_sub(2),
        };
        let expected = to.fill(|n, oy, ox, c| {
            let taps = (0..9).map(|k| {
                let (iy, ix) = (at(oy, k / 3, from.h), at(ox, k % 3, from.w));
                [1.0, 2.0, 1.0][k / 3] * [1.0, 2.0, 1.0][k % 3] * values[from.at(n, iy, ix, c)]
            });
            taps.sum::<f32>() / 16.0
        });
        y.check("blur_pool", &expected);
    }
}
