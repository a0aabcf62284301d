// A panorama in one pass: each canvas pixel is warped from the cameras that show it, with gain, weighed, and written as
// NV12. A camera's pixel is read where it is shown, a canvas pixel is written once; nothing lies in between.
//
// Reference: daemon/vision/src/panorama (mesh.rs, warp/portable.rs, field.rs, shares.rs, rows.rs, band.rs; observe.rs
// for `synoptic_observe`), feathered. The arithmetic is in whole numbers but for gains and weights, whose few operations
// are done in the same order without contraction (-fmad=false): the picture agrees in every bit.
//
// `synoptic_compose`: a block makes a tile of 64 x 16 canvas pixels, a thread 4 x 2 of them. What a row of 16 pixels
// has in common (places, gains, weights) is made once in shared memory.
#ifndef __CUDACC__
#include "../emulate/emulate.h"
#endif

#define MAX_CAMERAS 8
#define PITCH 16
#define PITCH_BITS 4
#define SMALL 8
#define GAIN_PITCH 64
#define CELLS_A_NODE (GAIN_PITCH / PITCH)
#define FACTORS 5
#define EXTRA_BITS 10
#define GAIN_BITS 13
#define VALUE_BITS 5
#define BLACK ((128 - 16) * 128)
#define LUMA_BASE ((16 << VALUE_BITS) + (1 << (VALUE_BITS - 1)))
#define CHROMA_BASE ((128 << VALUE_BITS) + (1 << (VALUE_BITS - 1)))
#define UNIT (32767.0f / 255.0f)
// x of a mesh node that the lens does not see.
#define UNSEEN (-2147483647 - 1)

#define SHARE_OFF 0
#define SHARE_MIXED 1
#define SHARE_FULL 2

#define TILE_WIDTH 64
#define TILE_HEIGHT 16
#define TILE_CELLS (TILE_WIDTH / PITCH)
#define TILE_SMALL (TILE_WIDTH / SMALL)
#define THREADS_ACROSS 16
#define THREADS_DOWN 8
#define THREADS (THREADS_ACROSS * THREADS_DOWN)

struct PanoramaCamera {
    unsigned long long nodes;   // (columns + 1) x (rows + 1) of x and y in 1/65536 pixel
    unsigned long long weights; // small cells, 1 byte
    unsigned long long shares;  // cells of 16 x 8, 1 byte
    unsigned long long factors; // gain nodes x 5 floats
    unsigned long long luma;
    unsigned long long cb;
    unsigned long long cr;
    unsigned int luma_stride; // bytes
    unsigned int chroma_stride;
    unsigned int chroma_step; // bytes from sample to sample: 2 when Cb and Cr lie in turn
    unsigned int width;       // of the picture
    unsigned int height;
    unsigned int present;
};

struct PanoramaParams {
    unsigned long long luma; // of the canvas
    unsigned long long chroma;
    unsigned long long mixed; // cells of 16 x 8, 1 byte
    unsigned int luma_stride;
    unsigned int chroma_stride;
    unsigned int width; // of the canvas
    unsigned int height;
    unsigned int columns; // cells of 16
    unsigned int small_columns;
    unsigned int small_rows;
    unsigned int gain_across;
    unsigned int gain_down;
    unsigned int cameras;
    PanoramaCamera camera[MAX_CAMERAS];
};

struct ObserveParams {
    unsigned long long cells;  // cameras x small cells of 4 floats: luma, cb, cr, detail
    unsigned long long looked; // cameras x small cells of 1 byte: whether to look
    unsigned int columns;      // cells of 16
    unsigned int small_columns;
    unsigned int small_rows;
    unsigned int reserved;
    PanoramaCamera camera[MAX_CAMERAS];
};
static_assert(sizeof(PanoramaCamera) == 80, "as PanoramaCamera of src/panorama.rs");
static_assert(sizeof(PanoramaParams) == 64 + 80 * MAX_CAMERAS, "as PanoramaParams of src/panorama.rs");
static_assert(sizeof(ObserveParams) == 32 + 80 * MAX_CAMERAS, "as ObserveParams of src/panorama.rs");

struct Place {
    int x, y;
};

struct Run {
    Place at, step;
};

__device__ static int clamped(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

__device__ static Place node_at(const PanoramaCamera &k, unsigned int columns, unsigned int c, unsigned int r)
{
    const Place n = ((const Place *)k.nodes)[(unsigned long long)r * (columns + 1) + c];
    const Place nowhere = {0, 0};
    return n.x == UNSEEN ? nowhere : n;
}

__device__ static bool is_seen(const PanoramaCamera &k, unsigned int columns, unsigned int c, unsigned int r)
{
    const Place *n = (const Place *)k.nodes + (unsigned long long)r * (columns + 1) + c;
    return n[0].x != UNSEEN && n[1].x != UNSEEN && n[columns + 1].x != UNSEEN && n[columns + 2].x != UNSEEN;
}

__device__ static int along(int a, int b, int part)
{
    // In 64 bits: beside a pole two nodes lie far apart.
    return a + (int)((((long long)b - (long long)a) * part) >> PITCH_BITS);
}

// The left edge of cell `c` on canvas row `y`.
__device__ static Place edge_of(const PanoramaCamera &k, unsigned int columns, unsigned int c, unsigned int y)
{
    const Place top = node_at(k, columns, c, y / PITCH), bottom = node_at(k, columns, c, y / PITCH + 1);
    const int part = (int)(y % PITCH);
    const Place edge = {along(top.x, bottom.x, part), along(top.y, bottom.y, part)};
    return edge;
}

__device__ static Run between(Place left, Place right)
{
    const Run run = {left, {(right.x - left.x) >> PITCH_BITS, (right.y - left.y) >> PITCH_BITS}};
    return run;
}

__device__ static int chroma_at(int upper, int upper_step, int lower, int lower_step)
{
    const int middle = ((upper + upper_step / 2) >> 1) + ((lower + lower_step / 2) >> 1);
    return (middle >> 1) - (1 << 14);
}

__device__ static Run chroma_run(Run upper, Run lower)
{
    const Run run = {
        {chroma_at(upper.at.x, upper.step.x, lower.at.x, lower.step.x),
         chroma_at(upper.at.y, upper.step.y, lower.at.y, lower.step.y)},
        {(upper.step.x + lower.step.x) >> 1, (upper.step.y + lower.step.y) >> 1},
    };
    return run;
}

__device__ static int weighed(int row, int weight)
{
    return (2 * row * (weight << 7) + (1 << 14)) >> 15;
}

// The interpolated byte less 128, times 128.
__device__ static int bilinear(const unsigned char *first, unsigned int step, unsigned int stride, int fx, int fy)
{
    const int above = ((int)first[0] - 128) * (128 - fx) + ((int)first[step] - 128) * fx;
    const unsigned char *second = first + stride;
    const int below = ((int)second[0] - 128) * (128 - fx) + ((int)second[step] - 128) * fx;
    return weighed(above, 128 - fy) + weighed(below, fy);
}

__device__ static int scaled(int a, int b)
{
    return (int)(short)((a * b + (1 << 14)) >> 15);
}

__device__ static int saturated(int v)
{
    return clamped(v, -32768, 32767);
}

__device__ static unsigned char byte_of(int value, int base)
{
    return (unsigned char)clamped((value + base) >> VALUE_BITS, 0, 255);
}

// What a tile's threads share of one camera.
struct Tile {
    Place edges[TILE_HEIGHT][TILE_CELLS + 1];
    int gains[TILE_HEIGHT / 2][TILE_CELLS + 1][FACTORS];
    float weights[TILE_HEIGHT][TILE_SMALL + 2];
    bool seen[TILE_CELLS];
};

// The weight of small column `c` on canvas row `y`, before it is interpolated across.
__device__ static float weight_column(const PanoramaParams &p, const PanoramaCamera &k, int c, unsigned int y)
{
    float place = ((float)y + 0.5f - 4.0f) / 8.0f;
    place = place < 0.0f ? 0.0f : place;
    const int last = (int)p.small_rows - 1;
    const int upper = clamped((int)place, 0, last), lower = clamped(upper + 1, 0, last);
    const float part = place - (float)upper;
    c = clamped(c, 0, (int)p.small_columns - 1);
    const unsigned char *weights = (const unsigned char *)k.weights + c;
    const float a = (float)weights[upper * (int)p.small_columns], b = (float)weights[lower * (int)p.small_columns];
    return (a + (b - a) * part) * UNIT;
}

// Fixed point factors at the left edge of cell `c` on canvas row `y`.
__device__ static void gain_edge(const PanoramaParams &p, const PanoramaCamera &k, unsigned int c, unsigned int y, int *out)
{
    const unsigned int most = p.gain_down < 2 ? 0 : p.gain_down - 2;
    const unsigned int upper = y / GAIN_PITCH < most ? y / GAIN_PITCH : most;
    const unsigned int lower = upper + 1 < p.gain_down ? upper + 1 : p.gain_down - 1;
    const float down = (float)y / (float)GAIN_PITCH - (float)upper;
    const float scale = (float)(1 << GAIN_BITS) * (float)(1 << EXTRA_BITS);
    const unsigned int first = c / CELLS_A_NODE, last = p.gain_across - 1;
    const unsigned int left_node = first < last ? first : last, right_node = first + 1 < last ? first + 1 : last;
    const float across = (float)(c % CELLS_A_NODE) / (float)CELLS_A_NODE;
    const float *factors = (const float *)k.factors;
    for (int f = 0; f < FACTORS; f++) {
        const float *top = factors + (unsigned long long)upper * p.gain_across * FACTORS + f;
        const float *bottom = factors + (unsigned long long)lower * p.gain_across * FACTORS + f;
        const float lt = top[left_node * FACTORS], lb = bottom[left_node * FACTORS];
        const float rt = top[right_node * FACTORS], rb = bottom[right_node * FACTORS];
        const float left = (lt + (lb - lt) * down) * scale, right = (rt + (rb - rt) * down) * scale;
        out[f] = (int)(left + (right - left) * across);
    }
}

// Between two edges of a cell, `i` pixels from the left one.
__device__ static int ramp(const int *left, const int *right, int factor, int i)
{
    const int step = (right[factor] - left[factor]) >> 4;
    return (int)(short)((left[factor] + step * i) >> EXTRA_BITS);
}

__device__ static int weight_at(const float *columns, int i)
{
    // Middles of small cells lie at 3.5 and 11.5; the one before at -4.5.
    const float at = ((float)i + 4.5f) / 8.0f;
    const int left = (int)at;
    return (int)(columns[left] + (columns[left + 1] - columns[left]) * (at - (float)left) + 0.5f);
}

// Four bytes, or the first two where the canvas, which is of even width, ends. Rows begin at multiples of four.
__device__ static void store(unsigned char *to, const unsigned char *v, bool whole)
{
    if (whole) {
        *(unsigned int *)to = (unsigned int)v[0] | (unsigned int)v[1] << 8 | (unsigned int)v[2] << 16 | (unsigned int)v[3] << 24;
    } else {
        to[0] = v[0];
        to[1] = v[1];
    }
}

// Grid (ceil(width / 64), ceil(height / 16)), block (16, 8).
extern "C" __global__ void synoptic_compose(const __grid_constant__ PanoramaParams p)
{
    __shared__ Tile tile;
    __shared__ unsigned char shares[MAX_CAMERAS][2 * TILE_CELLS];
    __shared__ unsigned char mixed[2 * TILE_CELLS];
    const unsigned int me = threadIdx.y * THREADS_ACROSS + threadIdx.x;
    const unsigned int first_cell = blockIdx.x * TILE_CELLS, top = blockIdx.y * TILE_HEIGHT;
    // Of the 4 x 2 cells of this tile, who shows what.
    if (me < (p.cameras + 1) * 2 * TILE_CELLS) {
        const unsigned int k = me / (2 * TILE_CELLS), i = me % (2 * TILE_CELLS);
        const unsigned int c = first_cell + i % TILE_CELLS, r = top / SMALL + i / TILE_CELLS;
        const bool within = c < p.columns && r < p.small_rows;
        const unsigned long long at = (unsigned long long)r * p.columns + c;
        if (k < p.cameras) {
            const bool shown = within && p.camera[k].present;
            shares[k][i] = shown ? ((const unsigned char *)p.camera[k].shares)[at] : SHARE_OFF;
        } else {
            mixed[i] = within ? ((const unsigned char *)p.mixed)[at] : 0;
        }
    }
    __syncthreads();
    const unsigned int own_cell = threadIdx.x / (PITCH / 4);
    const unsigned int own = threadIdx.y / (SMALL / 2) * TILE_CELLS + own_cell;
    const unsigned int x0 = blockIdx.x * TILE_WIDTH + threadIdx.x * 4, y0 = top + threadIdx.y * 2;
    const int in_cell = (int)(threadIdx.x % (PITCH / 4)) * 4;
    const bool own_mixed = mixed[own] != 0;
    int luma_sum[2][4] = {}, chroma_sum[4] = {};
    unsigned char luma_out[2][4] = {{16, 16, 16, 16}, {16, 16, 16, 16}};
    unsigned char chroma_out[4] = {128, 128, 128, 128};
    for (unsigned int n = 0; n < p.cameras; n++) {
        bool any = false;
        for (int i = 0; i < 2 * TILE_CELLS; i++) {
            any = any || shares[n][i] != SHARE_OFF;
        }
        if (!any) {
            continue; // The same for all threads of the block.
        }
        const PanoramaCamera &k = p.camera[n];
        __syncthreads(); // The camera before is done with the tile.
        for (unsigned int i = me; i < TILE_HEIGHT * (TILE_CELLS + 1); i += THREADS) {
            const unsigned int row = i / (TILE_CELLS + 1), j = i % (TILE_CELLS + 1);
            if (first_cell + j <= p.columns) {
                tile.edges[row][j] = edge_of(k, p.columns, first_cell + j, top + row);
            }
        }
        for (unsigned int i = me; i < TILE_HEIGHT / 2 * (TILE_CELLS + 1); i += THREADS) {
            const unsigned int row = i / (TILE_CELLS + 1), j = i % (TILE_CELLS + 1);
            gain_edge(p, k, first_cell + j, top + 2 * row, tile.gains[row][j]);
        }
        for (unsigned int i = me; i < TILE_HEIGHT * (TILE_SMALL + 2); i += THREADS) {
            const unsigned int row = i / (TILE_SMALL + 2), j = i % (TILE_SMALL + 2);
            tile.weights[row][j] = weight_column(p, k, (int)(2 * first_cell + j) - 1, top + row);
        }
        if (me < TILE_CELLS) {
            tile.seen[me] = first_cell + me < p.columns && is_seen(k, p.columns, first_cell + me, top / PITCH);
        }
        __syncthreads();
        const unsigned char share = shares[n][own];
        if (share == SHARE_OFF || (share == SHARE_FULL && own_mixed) || x0 >= p.width || y0 >= p.height) {
            continue;
        }
        Run runs[2];
        int luma[2][4];
        bool inside[2][4];
        const int last_x = ((int)k.width - 1) << 16, last_y = ((int)k.height - 1) << 16;
        for (int row = 0; row < 2; row++) {
            const Place *edges = tile.edges[2 * threadIdx.y + row] + own_cell;
            runs[row] = between(edges[0], edges[1]);
            for (int i = 0; i < 4; i++) {
                const int x = runs[row].at.x + runs[row].step.x * (in_cell + i);
                const int y = runs[row].at.y + runs[row].step.y * (in_cell + i);
                inside[row][i] = tile.seen[own_cell] && x >= 0 && x < last_x && y >= 0 && y < last_y;
                luma[row][i] = -BLACK;
                if (inside[row][i]) {
                    const unsigned char *at =
                        (const unsigned char *)k.luma + (unsigned long long)(y >> 16) * k.luma_stride + (x >> 16);
                    luma[row][i] = bilinear(at, 1, k.luma_stride, (x >> 9) & 127, (y >> 9) & 127);
                }
            }
        }
        const Run run = chroma_run(runs[0], runs[1]);
        const int chroma_x = (int)(((k.width + 1) / 2 - 1) << 16) - 1, chroma_y = (int)(((k.height + 1) / 2 - 1) << 16) - 1;
        int chroma[4] = {};
        for (int pair = 0; pair < 2; pair++) {
            if (inside[0][2 * pair] && inside[0][2 * pair + 1]) {
                const int i = in_cell / 2 + pair;
                const int x = clamped(run.at.x + run.step.x * i, 0, chroma_x);
                const int y = clamped(run.at.y + run.step.y * i, 0, chroma_y);
                const unsigned long long at =
                    (unsigned long long)(y >> 16) * k.chroma_stride + (unsigned int)(x >> 16) * k.chroma_step;
                const int fx = (x >> 9) & 127, fy = (y >> 9) & 127;
                chroma[2 * pair] = bilinear((const unsigned char *)k.cb + at, k.chroma_step, k.chroma_stride, fx, fy);
                chroma[2 * pair + 1] =
                    bilinear((const unsigned char *)k.cr + at, k.chroma_step, k.chroma_stride, fx, fy);
            }
        }
        const int *left = tile.gains[threadIdx.y][own_cell], *right = tile.gains[threadIdx.y][own_cell + 1];
        int weights[2][4];
        for (int row = 0; row < 2; row++) {
            const float *columns = tile.weights[2 * threadIdx.y + row] + 2 * own_cell;
            for (int i = 0; i < 4; i++) {
                weights[row][i] = weight_at(columns, in_cell + i);
                const int value = scaled(luma[row][i] + BLACK, ramp(left, right, 0, in_cell + i));
                if (own_mixed) {
                    luma_sum[row][i] = saturated(luma_sum[row][i] + scaled(value, weights[row][i]));
                } else {
                    luma_out[row][i] = byte_of(value, LUMA_BASE);
                }
            }
        }
        for (int i = 0; i < 4; i++) {
            const int pair = i / 2, pixel = in_cell + 2 * pair;
            const int four = luma[0][2 * pair] + luma[0][2 * pair + 1] + luma[1][2 * pair] + luma[1][2 * pair + 1];
            const int under = (four >> 2) + BLACK;
            const int value = saturated(scaled(chroma[i], ramp(left, right, 1 + (i & 1), pixel)) +
                                        scaled(under, ramp(left, right, 3 + (i & 1), pixel)));
            if (own_mixed) {
                const int sum = weights[0][2 * pair] + weights[0][2 * pair + 1] + weights[1][2 * pair] + weights[1][2 * pair + 1];
                chroma_sum[i] = saturated(chroma_sum[i] + scaled(value, sum / 4));
            } else {
                chroma_out[i] = byte_of(value, CHROMA_BASE);
            }
        }
    }
    if (x0 >= p.width || y0 >= p.height) {
        return;
    }
    if (own_mixed) {
        for (int i = 0; i < 4; i++) {
            luma_out[0][i] = byte_of(luma_sum[0][i], LUMA_BASE);
            luma_out[1][i] = byte_of(luma_sum[1][i], LUMA_BASE);
            chroma_out[i] = byte_of(chroma_sum[i], CHROMA_BASE);
        }
    }
    unsigned char *out = (unsigned char *)p.luma + (unsigned long long)y0 * p.luma_stride + x0;
    unsigned char *out_chroma = (unsigned char *)p.chroma + (unsigned long long)(y0 / 2) * p.chroma_stride + x0;
    const bool whole = x0 + 4 <= p.width;
    store(out, luma_out[0], whole);
    store(out + p.luma_stride, luma_out[1], whole);
    store(out_chroma, chroma_out, whole);
}

// What each camera does in each cell of 16 x 8 pixels, from the weights; when these changed.
// Grid (ceil(columns / 128), small rows), block 128.
extern "C" __global__ void synoptic_shares(const __grid_constant__ PanoramaParams p)
{
    const unsigned int c = blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y;
    if (c >= p.columns || r >= p.small_rows) {
        return;
    }
    const unsigned int from = c == 0 ? 0 : 2 * c - 1;
    const unsigned int to = 2 * c + 3 < p.small_columns ? 2 * c + 3 : p.small_columns;
    const unsigned int above = r == 0 ? 0 : r - 1, below = r + 1 < p.small_rows ? r + 1 : p.small_rows - 1;
    bool any_mixed = false;
    for (unsigned int k = 0; k < p.cameras; k++) {
        unsigned int least = 255, most = 0;
        for (unsigned int row = above; row <= below; row++) {
            for (unsigned int i = from; i < to; i++) {
                const unsigned int w = ((const unsigned char *)p.camera[k].weights)[(unsigned long long)row * p.small_columns + i];
                least = w < least ? w : least;
                most = w > most ? w : most;
            }
        }
        const unsigned char share = most == 0 ? SHARE_OFF : least == 255 ? SHARE_FULL : SHARE_MIXED;
        ((unsigned char *)p.camera[k].shares)[(unsigned long long)r * p.columns + c] = share;
        any_mixed = any_mixed || share == SHARE_MIXED;
    }
    ((unsigned char *)p.mixed)[(unsigned long long)r * p.columns + c] = any_mixed ? 1 : 0;
}

__device__ static unsigned int nearest(unsigned long long plane, unsigned int stride, unsigned int step, int width, int height, int x, int y)
{
    const int column = clamped((x + (1 << 15)) >> 16, 0, width - 1), row = clamped((y + (1 << 15)) >> 16, 0, height - 1);
    return ((const unsigned char *)plane)[(unsigned long long)row * stride + (unsigned int)column * step];
}

// What a camera sees in a small cell that it shares with others. Grid (ceil(small columns / 128), small rows, cameras),
// block 128.
extern "C" __global__ void synoptic_observe(const __grid_constant__ ObserveParams p)
{
    const unsigned int c = blockIdx.x * blockDim.x + threadIdx.x, r = blockIdx.y;
    if (c >= p.small_columns) {
        return;
    }
    const unsigned long long cell = ((unsigned long long)blockIdx.z * p.small_rows + r) * p.small_columns + c;
    float *out = (float *)p.cells + 4 * cell;
    const PanoramaCamera &k = p.camera[blockIdx.z];
    if (!((const unsigned char *)p.looked)[cell] || !k.present) {
        out[0] = 0.0f;
        out[1] = 128.0f;
        out[2] = 128.0f;
        out[3] = -1.0f;
        return;
    }
    const int left = (int)(c * SMALL % PITCH);
    const unsigned int mesh_cell = c * SMALL / PITCH;
    const int cw = (int)((k.width + 1) / 2), ch = (int)((k.height + 1) / 2);
    unsigned int sum = 0, squares = 0, cb = 0, cr = 0;
    for (int dy = 1; dy < SMALL; dy += 2) {
        const unsigned int y = r * SMALL + (unsigned int)dy;
        const Run run = between(edge_of(k, p.columns, mesh_cell, y), edge_of(k, p.columns, mesh_cell + 1, y));
        for (int dx = 1; dx < SMALL; dx += 2) {
            const int at_x = run.at.x + run.step.x * (left + dx), at_y = run.at.y + run.step.y * (left + dx);
            const unsigned int v = nearest(k.luma, k.luma_stride, 1, (int)k.width, (int)k.height, at_x, at_y);
            sum += v;
            squares += v * v;
            if ((dx - 1) % 4 == 0 && (dy - 1) % 4 == 0) {
                const int x = (at_x >> 1) - (1 << 14), y_in = (at_y >> 1) - (1 << 14);
                cb += nearest(k.cb, k.chroma_stride, k.chroma_step, cw, ch, x, y_in);
                cr += nearest(k.cr, k.chroma_stride, k.chroma_step, cw, ch, x, y_in);
            }
        }
    }
    const float mean = (float)sum / 16.0f;
    const float spread = (float)squares / 16.0f - mean * mean;
    out[0] = mean;
    out[1] = (float)cb / 4.0f;
    out[2] = (float)cr / 4.0f;
    out[3] = sqrtf(spread > 0.0f ? spread : 0.0f);
}
