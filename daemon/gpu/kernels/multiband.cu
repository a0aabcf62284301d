// Multi-band blending about the seams (Burt and Adelson, A Multiresolution Spline, 1983), over the picture that
// `synoptic_compose` wrote. Patches about the cells where cameras are mixed are decomposed, weighed level by level and
// put together again; the host says which (src/panorama/patches.rs).
//
// Reference: daemon/vision/src/panorama/multiband.rs and pyramid.rs: whole numbers, the same in every bit.
//
// Of each patch there are three pyramids (one camera's picture, its weights, the sums over cameras), each of a luma plane
// and of a plane of Cb and Cr in turn, half as large, with a level less. Every kernel but the first takes grid
// (x, y, 2 x patches): even for luma, odd for chroma.
#ifndef TILE_WIDTH
#include "panorama.cu"
#endif

#define MAX_LEVELS 5

struct Patch {
    unsigned long long luma;    // where its pyramids begin, in 16-bit values
    unsigned long long chroma;
    unsigned long long reached; // in bytes
    unsigned int left;          // canvas pixels
    unsigned int top;
    unsigned int width;
    unsigned int height;
    unsigned int first_row; // of those that are written
    unsigned int end_row;
    unsigned int cameras; // a bit each
    unsigned int reserved;
};

struct MultiBandParams {
    PanoramaParams of;
    unsigned long long patches;
    unsigned long long picture; // 16-bit values of the three pyramids
    unsigned long long weights;
    unsigned long long sums;
    unsigned long long reached; // bytes
    unsigned int levels;
    unsigned int level; // that is written
    unsigned int camera;
    unsigned int reserved;
};
static_assert(sizeof(Patch) == 56, "as Patch of src/panorama/patches.rs");
static_assert(sizeof(MultiBandParams) == sizeof(PanoramaParams) + 56, "as MultiBandParams of src/panorama/multiband.rs");

// A level of a pyramid.
struct Level {
    unsigned long long at; // from the beginning of all pyramids of a kind
    int width, height, channels;
};

// Of the luma plane, or of chroma.
__device__ static Level level_of(const Patch &patch, bool chroma, unsigned int level)
{
    Level l = {chroma ? patch.chroma : patch.luma, (int)patch.width, (int)patch.height, 1};
    if (chroma) {
        l.width /= 2;
        l.height /= 2;
        l.channels = 2;
    }
    for (unsigned int i = 0; i < level; i++) {
        l.at += (unsigned long long)(l.width * l.channels) * l.height;
        l.width = (l.width + 1) / 2;
        l.height = (l.height + 1) / 2;
    }
    return l;
}

__device__ static int value_at(const short *pyramid, const Level &l, int x, int y, int channel)
{
    x = clamped(x, 0, l.width - 1);
    y = clamped(y, 0, l.height - 1);
    return pyramid[l.at + (unsigned long long)y * (l.width * l.channels) + x * l.channels + channel];
}

// Grid (ceil(width / 2 / 32), ceil(height / 2 / 8), patches), block (32, 8): a thread makes 2 x 2 pixels of one camera.
extern "C" __global__ void synoptic_multiband_fill(const __grid_constant__ MultiBandParams p)
{
    const Patch &patch = ((const Patch *)p.patches)[blockIdx.z];
    const unsigned int px = (blockIdx.x * blockDim.x + threadIdx.x) * 2, py = (blockIdx.y * blockDim.y + threadIdx.y) * 2;
    if (px >= patch.width || py >= patch.height || !(patch.cameras >> p.camera & 1)) {
        return;
    }
    const PanoramaCamera &k = p.of.camera[p.camera];
    const unsigned int x0 = patch.left + px, y0 = patch.top + py, cell = x0 / PITCH;
    const int in_cell = (int)(x0 % PITCH);
    const bool seen = is_seen(k, p.of.columns, cell, y0 / PITCH);
    const Level fine = level_of(patch, false, 0), half = level_of(patch, true, 0);
    short *picture = (short *)p.picture, *weights = (short *)p.weights;
    unsigned char *reached = (unsigned char *)p.reached + patch.reached;
    int left[FACTORS], right[FACTORS];
    gain_edge(p.of, k, cell, y0, left);
    gain_edge(p.of, k, cell + 1, y0, right);
    const int last_x = ((int)k.width - 1) << 16, last_y = ((int)k.height - 1) << 16;
    Run runs[2];
    int under = 0, weight_sum = 0;
    for (int row = 0; row < 2; row++) {
        const unsigned int y = y0 + (unsigned int)row;
        runs[row] = between(edge_of(k, p.of.columns, cell, y), edge_of(k, p.of.columns, cell + 1, y));
        float columns[4];
        for (int i = 0; i < 4; i++) {
            columns[i] = weight_column(p.of, k, (int)(2 * cell) - 1 + i, y);
        }
        for (int i = 0; i < 2; i++) {
            const int at_x = runs[row].at.x + runs[row].step.x * (in_cell + i);
            const int at_y = runs[row].at.y + runs[row].step.y * (in_cell + i);
            const int x = clamped(at_x, 0, last_x - 1), yy = clamped(at_y, 0, last_y - 1);
            const unsigned char *from =
                (const unsigned char *)k.luma + (unsigned long long)(yy >> 16) * k.luma_stride + (x >> 16);
            const int sample = bilinear(from, 1, k.luma_stride, (x >> 9) & 127, (yy >> 9) & 127);
            const int weight = weight_at(columns, in_cell + i);
            const unsigned long long at = (unsigned long long)(py + row) * patch.width + px + i;
            picture[fine.at + at] = (short)scaled(sample + BLACK, ramp(left, right, 0, in_cell + i));
            weights[fine.at + at] = (short)weight;
            const bool inside = seen && at_x >= 0 && at_x < last_x && at_y >= 0 && at_y < last_y;
            if (inside && x0 + i < p.of.width) {
                reached[at] = 1;
            }
            under += sample;
            weight_sum += weight;
        }
    }
    under = (under >> 2) + BLACK;
    const Run run = chroma_run(runs[0], runs[1]);
    const int chroma_x = (int)(((k.width + 1) / 2 - 1) << 16) - 1, chroma_y = (int)(((k.height + 1) / 2 - 1) << 16) - 1;
    const int x = clamped(run.at.x + run.step.x * (in_cell / 2), 0, chroma_x);
    const int y = clamped(run.at.y + run.step.y * (in_cell / 2), 0, chroma_y);
    const unsigned long long from = (unsigned long long)(y >> 16) * k.chroma_stride + (unsigned int)(x >> 16) * k.chroma_step;
    const unsigned long long at = half.at + (unsigned long long)(py / 2) * patch.width + px;
    for (int channel = 0; channel < 2; channel++) {
        const unsigned char *plane = (const unsigned char *)(channel ? k.cr : k.cb) + from;
        const int sample = bilinear(plane, k.chroma_step, k.chroma_stride, (x >> 9) & 127, (y >> 9) & 127);
        picture[at + channel] = (short)saturated(scaled(sample, ramp(left, right, 1 + channel, in_cell)) +
                                                 scaled(under, ramp(left, right, 3 + channel, in_cell)));
        weights[at + channel] = (short)(weight_sum / 4);
    }
}

// (1 4 6 4 1) / 16 down, then across, of every other value.
__device__ static int reduced(const short *pyramid, const Level &l, int x, int y, int channel)
{
    int down[5];
    for (int i = 0; i < 5; i++) {
        int v[5];
        for (int j = 0; j < 5; j++) {
            v[j] = value_at(pyramid, l, 2 * x + i - 2, 2 * y + j - 2, channel);
        }
        down[i] = (int)(short)((v[0] + v[4] + 4 * (v[1] + v[3]) + 6 * v[2] + 8) >> 4);
    }
    return (down[0] + down[4] + 4 * (down[1] + down[3]) + 6 * down[2] + 8) >> 4;
}

// What a level twice as fine gets from level `l` at (x, y).
__device__ static int expanded(const short *pyramid, const Level &l, int x, int y, int channel)
{
    const int cx = x / 2, cy = y / 2;
    int across[3];
    for (int i = 0; i < 3; i++) {
        const int here = value_at(pyramid, l, cx + i - 1, cy, channel);
        const int below = value_at(pyramid, l, cx + i - 1, cy + 1, channel);
        if (y % 2 == 0) {
            across[i] = (value_at(pyramid, l, cx + i - 1, cy - 1, channel) + below + 6 * here + 4) >> 3;
        } else {
            across[i] = (here + below + 1) >> 1;
        }
    }
    return x % 2 == 0 ? (across[0] + across[2] + 6 * across[1] + 4) >> 3 : (across[1] + across[2] + 1) >> 1;
}

// What a thread of the kernels below works on: `level` of its patch, at x and y; whether there is anything.
struct Work {
    Patch patch;
    Level level;
    int x, y;
    bool chroma, any;
};

__device__ static Work work_of(const MultiBandParams &p, unsigned int level)
{
    Work w;
    w.patch = ((const Patch *)p.patches)[blockIdx.z / 2];
    w.chroma = blockIdx.z % 2 == 1;
    w.level = level_of(w.patch, w.chroma, level);
    w.x = (int)(blockIdx.x * blockDim.x + threadIdx.x);
    w.y = (int)(blockIdx.y * blockDim.y + threadIdx.y);
    const unsigned int levels = w.chroma ? p.levels - 1 : p.levels;
    w.any = level <= levels && w.x < w.level.width && w.y < w.level.height;
    return w;
}

__device__ static unsigned long long place_in(const Work &w, int channel)
{
    return w.level.at + (unsigned long long)w.y * (w.level.width * w.level.channels) + w.x * w.level.channels + channel;
}

// Level `p.level` of a camera's picture and weights, from the one before.
extern "C" __global__ void synoptic_multiband_reduce(const __grid_constant__ MultiBandParams p)
{
    const Work w = work_of(p, p.level);
    if (!w.any || !(w.patch.cameras >> p.camera & 1)) {
        return;
    }
    const Level fine = level_of(w.patch, w.chroma, p.level - 1);
    for (int channel = 0; channel < w.level.channels; channel++) {
        const unsigned long long at = place_in(w, channel);
        ((short *)p.picture)[at] = (short)reduced((const short *)p.picture, fine, w.x, w.y, channel);
        ((short *)p.weights)[at] = (short)reduced((const short *)p.weights, fine, w.x, w.y, channel);
    }
}

// Adds level `p.level` of a camera, what the next level does not hold of it, weighed, to the sums.
extern "C" __global__ void synoptic_multiband_add(const __grid_constant__ MultiBandParams p)
{
    const Work w = work_of(p, p.level);
    if (!w.any || !(w.patch.cameras >> p.camera & 1)) {
        return;
    }
    const bool coarsest = p.level == (w.chroma ? p.levels - 1 : p.levels);
    const Level coarse = level_of(w.patch, w.chroma, p.level + 1);
    for (int channel = 0; channel < w.level.channels; channel++) {
        const unsigned long long at = place_in(w, channel);
        int value = ((const short *)p.picture)[at];
        if (!coarsest) {
            value = saturated(value - expanded((const short *)p.picture, coarse, w.x, w.y, channel));
        }
        short *sum = (short *)p.sums + at;
        *sum = (short)saturated(*sum + scaled(value, ((const short *)p.weights)[at]));
    }
}

// Adds the sums' next level to level `p.level`.
extern "C" __global__ void synoptic_multiband_collapse(const __grid_constant__ MultiBandParams p)
{
    const Work w = work_of(p, p.level);
    if (!w.any || p.level == (w.chroma ? p.levels - 1 : p.levels)) {
        return;
    }
    const Level coarse = level_of(w.patch, w.chroma, p.level + 1);
    for (int channel = 0; channel < w.level.channels; channel++) {
        short *sum = (short *)p.sums + place_in(w, channel);
        *sum = (short)saturated(*sum + expanded((const short *)p.sums, coarse, w.x, w.y, channel));
    }
}

// Writes what of a patch lies in its rows and is reached by a camera.
extern "C" __global__ void synoptic_multiband_write(const __grid_constant__ MultiBandParams p)
{
    const Work w = work_of(p, 0);
    if (!w.any) {
        return;
    }
    const int scale = w.chroma ? 2 : 1;
    const unsigned int x = w.patch.left + (unsigned int)(w.x * scale), y = w.patch.top + (unsigned int)(w.y * scale);
    if (x >= p.of.width || y < w.patch.first_row || y >= w.patch.end_row) {
        return;
    }
    const unsigned char *reached = (const unsigned char *)p.reached + w.patch.reached +
                                   (unsigned long long)(w.y * scale) * w.patch.width + w.x * scale;
    if (!reached[0] || (w.chroma && !reached[1])) {
        return;
    }
    const short *sums = (const short *)p.sums + place_in(w, 0);
    if (w.chroma) {
        unsigned char *out = (unsigned char *)p.of.chroma + (unsigned long long)(y / 2) * p.of.chroma_stride + x;
        out[0] = byte_of(sums[0], CHROMA_BASE);
        out[1] = byte_of(sums[1], CHROMA_BASE);
    } else {
        ((unsigned char *)p.of.luma)[(unsigned long long)y * p.of.luma_stride + x] = byte_of(sums[0], LUMA_BASE);
    }
}
