// The kernels of the steps that are no convolution, once for each number type
// that maps are stored in. They compute in float, and compile as CUDA and, with
// the types of tests/cuda/host, as C++ for the processor.
#include "values.cuh"

#define VALUE __half
#define NAMED(name) name##_f16
#include "elementwise.cuh"
#include "gates.cuh"
#include "input.cuh"
#include "norm.cuh"
#include "pool.cuh"
#undef VALUE
#undef NAMED

#define VALUE __nv_bfloat16
#define NAMED(name) name##_bf16
#include "elementwise.cuh"
#include "gates.cuh"
#include "input.cuh"
#include "norm.cuh"
#include "pool.cuh"
#undef VALUE
#undef NAMED

#define VALUE float
#define NAMED(name) name##_f32
#include "elementwise.cuh"
#include "gates.cuh"
#include "input.cuh"
#include "norm.cuh"
#include "pool.cuh"
#undef VALUE
#undef NAMED
