// From pictures in device memory to the input tensor of a model: fit, resample, convert, normalise. One launch takes
// the pictures of a whole packet; nothing else is written or read in between.
//
// Reference: daemon/vision/src/onnx/preprocess.rs (`Sampler::fill`), same operations in the same order. Compiled
// without contraction to fused multiply-adds (-fmad=false) it agrees in every bit. RGBA, which decoders on the CPU
// never give, is sampled the same way, colour by colour.
//
// One thread a pixel of the input: grid (ceil(width / 32), ceil(height / 8), pictures), block (32, 8).
#ifndef __CUDACC__
#include "../emulate/emulate.h"
#endif

#define PREPROCESS_MAX_PICTURES 32
#define FORMAT_NV12 0
#define FORMAT_I420 1
#define FORMAT_RGBA 2

struct PreprocessPicture {
    unsigned long long first;  // luma, or R G B A
    unsigned long long second; // Cb Cr in turn, or Cb
    unsigned long long third;  // Cr of I420
    unsigned int first_stride; // bytes
    unsigned int chroma_stride;
    unsigned int width; // pixels
    unsigned int height;
    unsigned int format;
    unsigned int left; // where the picture lies in the input
    unsigned int top;
    unsigned int fit_width;
    unsigned int fit_height;
    float y; // to R'G'B': see vision's color.rs
    float r_cr;
    float g_cb;
    float g_cr;
    float b_cb;
};

struct PreprocessParams {
    unsigned long long tensor; // pictures x 3 x height x width of 32-bit floats
    unsigned int width;
    unsigned int height;
    unsigned int red; // plane of red: 0, or 2 for a model that wants blue first
    unsigned int reserved;
    float gain[3]; // by plane: value * gain + offset
    float offset[3];
    float pad[3]; // around a letterboxed picture, already normalised
    float reserved_too;
    PreprocessPicture pictures[PREPROCESS_MAX_PICTURES];
};
static_assert(sizeof(PreprocessPicture) == 80, "as PreprocessPicture of src/preprocess.rs");
static_assert(sizeof(PreprocessParams) == 64 + 80 * PREPROCESS_MAX_PICTURES, "as PreprocessParams of src/preprocess.rs");

struct Tap {
    int first, second;
    float weight; // of the second
};

__device__ static Tap tap(int out_at, int out, int source)
{
    const float scale = (float)source / (float)out;
    float at = ((float)out_at + 0.5f) * scale - 0.5f;
    at = at < 0.0f ? 0.0f : at;
    const float last = (float)(source - 1);
    at = at > last ? last : at;
    Tap t;
    t.first = (int)at;
    t.second = t.first + 1 < source ? t.first + 1 : source - 1;
    t.weight = at - (float)t.first;
    return t;
}

__device__ static float between(float a, float b, float weight)
{
    return a + weight * (b - a);
}

// Rows are mixed first, then columns, as the reference does.
__device__ static float sample(const unsigned char *plane, unsigned int stride, int step, Tap x, Tap y)
{
    const unsigned char *above = plane + (unsigned long long)y.first * stride;
    const unsigned char *below = plane + (unsigned long long)y.second * stride;
    const float left = between((float)above[x.first * step], (float)below[x.first * step], y.weight);
    const float right = between((float)above[x.second * step], (float)below[x.second * step], y.weight);
    return between(left, right, x.weight);
}

__device__ static float in_bytes(float v)
{
    v = v < 0.0f ? 0.0f : v;
    return v > 255.0f ? 255.0f : v;
}

extern "C" __global__ void synoptic_preprocess(const __grid_constant__ PreprocessParams p)
{
    const unsigned int x = blockIdx.x * blockDim.x + threadIdx.x;
    const unsigned int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= p.width || y >= p.height) {
        return;
    }
    const PreprocessPicture &s = p.pictures[blockIdx.z];
    const unsigned long long plane = (unsigned long long)p.width * p.height;
    float *out = (float *)p.tensor + 3 * plane * blockIdx.z + (unsigned long long)y * p.width + x;
    if (x < s.left || y < s.top || x >= s.left + s.fit_width || y >= s.top + s.fit_height) {
        out[0] = p.pad[0];
        out[plane] = p.pad[1];
        out[2 * plane] = p.pad[2];
        return;
    }
    const int px = (int)(x - s.left), py = (int)(y - s.top);
    const Tap tx = tap(px, (int)s.fit_width, (int)s.width);
    const Tap ty = tap(py, (int)s.fit_height, (int)s.height);
    const unsigned char *first = (const unsigned char *)s.first;
    float r, g, b;
    if (s.format == FORMAT_RGBA) {
        r = sample(first, s.first_stride, 4, tx, ty);
        g = sample(first + 1, s.first_stride, 4, tx, ty);
        b = sample(first + 2, s.first_stride, 4, tx, ty);
    } else {
        const Tap cx = tap(px, (int)s.fit_width, (int)((s.width + 1) / 2));
        const Tap cy = tap(py, (int)s.fit_height, (int)((s.height + 1) / 2));
        const bool interleaved = s.format == FORMAT_NV12;
        const unsigned char *cb_plane = (const unsigned char *)s.second;
        const unsigned char *cr_plane = interleaved ? cb_plane + 1 : (const unsigned char *)s.third;
        const int step = interleaved ? 2 : 1;
        const float luma = s.y * (sample(first, s.first_stride, 1, tx, ty) - 16.0f);
        const float cb = sample(cb_plane, s.chroma_stride, step, cx, cy) - 128.0f;
        const float cr = sample(cr_plane, s.chroma_stride, step, cx, cy) - 128.0f;
        r = in_bytes(luma + s.r_cr * cr);
        g = in_bytes(luma + s.g_cb * cb + s.g_cr * cr);
        b = in_bytes(luma + s.b_cb * cb);
    }
    const unsigned int blue = 2 - p.red;
    out[plane * p.red] = r * p.gain[p.red] + p.offset[p.red];
    out[plane] = g * p.gain[1] + p.offset[1];
    out[plane * blue] = b * p.gain[blue] + p.offset[blue];
}
