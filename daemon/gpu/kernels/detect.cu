// From a detector's outputs to boxes: decoding family by family, then suppression, for a whole batch, without a copy
// to the host in between.
//
// Reference: daemon/vision/src/onnx/decode.rs and nms.rs. exp, pow and tanh differ between libraries in their last
// bits: scores and edges agree to 1e-4 of their size, and boxes whose score lies that near to the threshold may come
// or go. Everything else (classes, order, ties, limits) is the same.
#ifndef __CUDACC__
#include "../emulate/emulate.h"
#endif

#define FAMILY_FASTESTDET 0
#define FAMILY_YOLOX 1
#define FAMILY_NANODET 2
#define BINS 8
#define MAX_EXP 10.0f
#define MAX_CANDIDATES 1000
#define MAX_DETECTIONS 300
#define NMS_THREADS 256
#define SHARED_KEYS 2048

struct DetectBox {
    float left, top, right, bottom; // pixels of the input
    float score;
    unsigned int label;
};

struct DecodeParams {
    // 32-bit floats, one picture after the other: the one output; or, of NanoDet, classes of strides 8, 16, 32, then
    // distances of the same.
    unsigned long long outputs[6];
    unsigned long long keep;   // classes x 1 byte
    unsigned long long boxes;  // pictures x cells DetectBox
    unsigned long long keys;   // pictures x capacity x 8 bytes
    unsigned long long counts; // pictures x 4 bytes, zero at the start
    unsigned int family;
    unsigned int width; // of the input
    unsigned int height;
    unsigned int classes;
    unsigned int cells;
    unsigned int capacity; // cells, up to a power of two
    float threshold;
    unsigned int reserved;
};

struct SuppressParams {
    unsigned long long boxes;
    unsigned long long keys;
    unsigned long long counts;
    unsigned long long found;       // pictures x MAX_DETECTIONS DetectBox
    unsigned long long found_count; // pictures x 4 bytes
    unsigned int cells;
    unsigned int capacity;
    float most; // IoU
    unsigned int reserved;
};
static_assert(sizeof(DetectBox) == 24, "as DetectBox of src/detect.rs");
static_assert(sizeof(DecodeParams) == 112, "as DecodeParams of src/detect.rs");
static_assert(sizeof(SuppressParams) == 56, "as SuppressParams of src/detect.rs");

struct Best {
    unsigned int label;
    float score;
};

__device__ static Best best(const float *scores, unsigned int classes, unsigned long long step)
{
    Best found = {0, -__int_as_float(0x7f800000)};
    for (unsigned int i = 0; i < classes; i++) {
        const float v = scores[i * step];
        if (v > found.score) {
            found.label = i;
            found.score = v;
        }
    }
    return found;
}

__device__ static bool finite(float v)
{
    return (__float_as_uint(v) & 0x7f800000u) != 0x7f800000u;
}

// Greater floats have smaller keys.
__device__ static unsigned int descending(float v)
{
    const unsigned int bits = __float_as_uint(v);
    const unsigned int ascending = bits & 0x80000000u ? ~bits : bits | 0x80000000u;
    return ~ascending;
}

__device__ static void add(const DecodeParams &p, unsigned int picture, unsigned int cell, DetectBox box)
{
    const bool sound = finite(box.score) && finite(box.left) && finite(box.top) && finite(box.right) && finite(box.bottom);
    if (!sound) {
        return;
    }
    ((DetectBox *)p.boxes)[(unsigned long long)picture * p.cells + cell] = box;
    const unsigned int slot = atomicAdd((unsigned int *)p.counts + picture, 1u);
    ((unsigned long long *)p.keys)[(unsigned long long)picture * p.capacity + slot] =
        (unsigned long long)descending(box.score) << 32 | cell;
}

__device__ static float sigmoid(float v)
{
    return 1.0f / (1.0f + expf(-v));
}

__device__ static void fastestdet(const DecodeParams &p, unsigned int picture, unsigned int cell)
{
    const unsigned int gw = p.width / 16, gh = p.height / 16;
    const float *at = (const float *)p.outputs[0] + (unsigned long long)picture * (5 + p.classes) * p.cells + cell;
    const float objectness = powf(at[0] > 0.0f ? at[0] : 0.0f, 0.6f);
    // Most cells are empty, and probabilities are 1 at most: no need to look for their class.
    if (objectness < p.threshold) {
        return;
    }
    const Best class_of = best(at + 5ull * p.cells, p.classes, p.cells);
    const float probability = class_of.score < 0.0f ? 0.0f : class_of.score > 1.0f ? 1.0f : class_of.score;
    const float score = objectness * powf(probability, 0.4f);
    if (!(score >= p.threshold) || !((const unsigned char *)p.keep)[class_of.label]) {
        return;
    }
    const float w = (float)p.width, h = (float)p.height;
    const float cx = ((float)(cell % gw) + tanhf(at[p.cells])) / (float)gw * w;
    const float cy = ((float)(cell / gw) + tanhf(at[2ull * p.cells])) / (float)gh * h;
    const float half_w = sigmoid(at[3ull * p.cells]) * w / 2.0f;
    const float half_h = sigmoid(at[4ull * p.cells]) * h / 2.0f;
    add(p, picture, cell, {cx - half_w, cy - half_h, cx + half_w, cy + half_h, score, class_of.label});
}

// Stride of the grid that a cell lies in, and its place there.
struct Cell {
    unsigned int grid, stride, column, row, in_grid, cells;
};

__device__ static Cell cell_of(const DecodeParams &p, unsigned int cell)
{
    Cell c = {0, 8, 0, 0, cell, 0};
    for (;;) {
        const unsigned int across = p.width / c.stride;
        c.cells = across * (p.height / c.stride);
        if (c.in_grid < c.cells || c.stride == 32) {
            c.column = c.in_grid % across;
            c.row = c.in_grid / across;
            return c;
        }
        c.in_grid -= c.cells;
        c.stride *= 2;
        c.grid += 1;
    }
}

__device__ static float half_side(float v, float stride)
{
    return expf(v < MAX_EXP ? v : MAX_EXP) * stride / 2.0f;
}

__device__ static void yolox(const DecodeParams &p, unsigned int picture, unsigned int cell)
{
    const Cell c = cell_of(p, cell);
    const unsigned int len = 5 + p.classes;
    const float *v = (const float *)p.outputs[0] + ((unsigned long long)picture * p.cells + cell) * len;
    // Probabilities are 1 at most: an empty cell costs one load.
    if (v[4] < p.threshold) {
        return;
    }
    const Best class_of = best(v + 5, p.classes, 1);
    const float score = v[4] * class_of.score;
    if (!(score >= p.threshold) || !((const unsigned char *)p.keep)[class_of.label]) {
        return;
    }
    const float s = (float)c.stride;
    const float cx = ((float)c.column + v[0]) * s, cy = ((float)c.row + v[1]) * s;
    const float half_w = half_side(v[2], s), half_h = half_side(v[3], s);
    add(p, picture, cell, {cx - half_w, cy - half_h, cx + half_w, cy + half_h, score, class_of.label});
}

// Mean of a distribution over 0, 1, 2, ... given by logits.
__device__ static float mean_of(const float *logits)
{
    float top = -__int_as_float(0x7f800000);
    for (int i = 0; i < BINS; i++) {
        top = logits[i] > top ? logits[i] : top;
    }
    float sum = 0.0f, weighed = 0.0f;
    for (int i = 0; i < BINS; i++) {
        const float e = expf(logits[i] - top);
        sum += e;
        weighed += e * (float)i;
    }
    return weighed / sum;
}

__device__ static float within(float v, float most)
{
    return v < 0.0f ? 0.0f : v > most ? most : v;
}

__device__ static void nanodet(const DecodeParams &p, unsigned int picture, unsigned int cell)
{
    const Cell c = cell_of(p, cell);
    const unsigned long long row = (unsigned long long)picture * c.cells + c.in_grid;
    const Best class_of = best((const float *)p.outputs[c.grid] + row * p.classes, p.classes, 1);
    if (!(class_of.score >= p.threshold) || !((const unsigned char *)p.keep)[class_of.label]) {
        return;
    }
    const float *distances = (const float *)p.outputs[3 + c.grid] + row * 4 * BINS;
    const float s = (float)c.stride;
    // Centre between the first and the last pixel of the cell.
    const float cx = (float)c.column * s + 0.5f * (s - 1.0f), cy = (float)c.row * s + 0.5f * (s - 1.0f);
    float d[4];
    for (int i = 0; i < 4; i++) {
        d[i] = mean_of(distances + i * BINS) * s;
    }
    const float w = (float)p.width, h = (float)p.height;
    add(p, picture, cell,
        {within(cx - d[0], w), within(cy - d[1], h), within(cx + d[2], w), within(cy + d[3], h), class_of.score,
         class_of.label});
}

// One thread a cell: grid (ceil(cells / 128), pictures), block 128.
extern "C" __global__ void synoptic_decode(const __grid_constant__ DecodeParams p)
{
    const unsigned int cell = blockIdx.x * blockDim.x + threadIdx.x;
    if (cell >= p.cells) {
        return;
    }
    if (p.family == FAMILY_FASTESTDET) {
        fastestdet(p, blockIdx.y, cell);
    } else if (p.family == FAMILY_YOLOX) {
        yolox(p, blockIdx.y, cell);
    } else {
        nanodet(p, blockIdx.y, cell);
    }
}

__device__ static float area(const DetectBox &e)
{
    const float w = e.right - e.left, h = e.bottom - e.top;
    return (w > 0.0f ? w : 0.0f) * (h > 0.0f ? h : 0.0f);
}

__device__ static float iou(const DetectBox &a, const DetectBox &b)
{
    const float w = (a.right < b.right ? a.right : b.right) - (a.left > b.left ? a.left : b.left);
    const float h = (a.bottom < b.bottom ? a.bottom : b.bottom) - (a.top > b.top ? a.top : b.top);
    const float both = (w > 0.0f ? w : 0.0f) * (h > 0.0f ? h : 0.0f);
    const float all = area(a) + area(b) - both;
    return all > 0.0f ? both / all : 0.0f;
}

// One block a picture: grid pictures, block NMS_THREADS.
extern "C" __global__ void synoptic_suppress(const __grid_constant__ SuppressParams p)
{
    __shared__ unsigned long long near_keys[SHARED_KEYS];
    __shared__ unsigned char covered[MAX_CANDIDATES];
    const unsigned int picture = blockIdx.x, me = threadIdx.x;
    const DetectBox *boxes = (const DetectBox *)p.boxes + (unsigned long long)picture * p.cells;
    unsigned long long *keys = (unsigned long long *)p.keys + (unsigned long long)picture * p.capacity;
    const unsigned int n = ((const unsigned int *)p.counts)[picture];
    unsigned int padded = 2;
    while (padded < n) {
        padded *= 2;
    }
    // A threshold near zero keeps thousands: then they are sorted where they lie.
    if (padded <= SHARED_KEYS) {
        for (unsigned int i = me; i < n; i += blockDim.x) {
            near_keys[i] = keys[i];
        }
        keys = near_keys;
    }
    for (unsigned int i = n + me; i < padded; i += blockDim.x) {
        keys[i] = ~0ull;
    }
    for (unsigned int i = me; i < MAX_CANDIDATES; i += blockDim.x) {
        covered[i] = 0;
    }
    __syncthreads();
    // Bitonic sort (Batcher 1968).
    for (unsigned int size = 2; size <= padded; size *= 2) {
        for (unsigned int step = size / 2; step > 0; step /= 2) {
            for (unsigned int i = me; i < padded; i += blockDim.x) {
                const unsigned int other = i ^ step;
                if (other > i) {
                    const unsigned long long a = keys[i], b = keys[other];
                    const bool up = (i & size) == 0;
                    if ((a > b) == up && a != b) {
                        keys[i] = b;
                        keys[other] = a;
                    }
                }
            }
            __syncthreads();
        }
    }
    const unsigned int m = n < MAX_CANDIDATES ? n : MAX_CANDIDATES;
    unsigned int kept = 0;
    DetectBox *found = (DetectBox *)p.found + (unsigned long long)picture * MAX_DETECTIONS;
    for (unsigned int i = 0; i < m && kept < MAX_DETECTIONS; i++) {
        if (covered[i]) {
            continue; // The same for all threads: nothing was written since they met.
        }
        const DetectBox box = boxes[(unsigned int)keys[i]];
        if (me == 0) {
            found[kept] = box;
        }
        kept++;
        for (unsigned int j = i + 1 + me; j < m; j += blockDim.x) {
            const DetectBox other = boxes[(unsigned int)keys[j]];
            if (other.label == box.label && iou(box, other) > p.most) {
                covered[j] = 1;
            }
        }
        __syncthreads();
    }
    if (me == 0) {
        ((unsigned int *)p.found_count)[picture] = kept;
    }
}
