// A stand-in for libcuda: the calls of CUDA's driver API that this crate makes, on the CPU. Kernels are those of
// ../kernels, compiled in; a module's image must be one that the stand-in's NVRTC "compiled" or begin with `emulated`.
//
// Failures on demand: `emulated_fail(name, code)` makes the next call of that name return `code`. What is alive is
// counted (`emulated_alive`), so that tests see leaks; a use after free or a double free is an error, not a crash.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <mutex>
#include <ucontext.h>
#include <vector>

#include "../kernels/preprocess.cu"
namespace detect {
#include "../kernels/detect.cu"
}
namespace panorama {
#include "../kernels/multiband.cu"
}

emulated_dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace {

std::recursive_mutex gate; // One call at a time: the emulated GPU is one core.
std::string fail_name;
int fail_code = 0;
bool ready = false;
std::map<uint64_t, std::pair<char *, size_t>> allocations;
std::set<void *> handles;
size_t allocated = 0;
size_t total_memory = size_t(4) << 30;

enum {
    INVALID_VALUE = 1,
    OUT_OF_MEMORY = 2,
    NOT_INITIALIZED = 3,
    NO_DEVICE = 100,
    INVALID_IMAGE = 200,
    INVALID_HANDLE = 400,
    NOT_FOUND = 500,
    NOT_READY = 600,
};

// Fails when it was told to, or when cuInit did not come first.
int enter(const char *name, bool before_init = false)
{
    if (fail_name == name) {
        fail_name.clear();
        return fail_code;
    }
    return ready || before_init ? 0 : NOT_INITIALIZED;
}

#define ENTER(name)                                                                                                   \
    const std::lock_guard<std::recursive_mutex> hold(gate);                                                           \
    if (const int failed = enter(name)) {                                                                             \
        return failed;                                                                                                \
    }

struct Kernel {
    const char *name;
    void (*run)(void **);
    bool barriers;
};

template <typename P, void (*F)(P)> void call(void **params)
{
    F(*static_cast<P *>(params[0]));
}

const Kernel KERNELS[] = {
    {"synoptic_preprocess", call<const PreprocessParams, synoptic_preprocess>, false},
    {"synoptic_decode", call<const detect::DecodeParams, detect::synoptic_decode>, false},
    {"synoptic_suppress", call<const detect::SuppressParams, detect::synoptic_suppress>, true},
    {"synoptic_compose", call<const panorama::PanoramaParams, panorama::synoptic_compose>, true},
    {"synoptic_shares", call<const panorama::PanoramaParams, panorama::synoptic_shares>, false},
    {"synoptic_observe", call<const panorama::ObserveParams, panorama::synoptic_observe>, false},
    {"synoptic_multiband_fill", call<const panorama::MultiBandParams, panorama::synoptic_multiband_fill>, false},
    {"synoptic_multiband_reduce", call<const panorama::MultiBandParams, panorama::synoptic_multiband_reduce>, false},
    {"synoptic_multiband_add", call<const panorama::MultiBandParams, panorama::synoptic_multiband_add>, false},
    {"synoptic_multiband_collapse", call<const panorama::MultiBandParams, panorama::synoptic_multiband_collapse>, false},
    {"synoptic_multiband_write", call<const panorama::MultiBandParams, panorama::synoptic_multiband_write>, false},
};

// ---- a block's threads as coroutines

struct Coroutine {
    ucontext_t context;
    std::vector<char> stack;
    emulated_dim3 index;
    bool done = false;
};
ucontext_t scheduler;
Coroutine *current = nullptr;
const Kernel *running = nullptr;
void **running_params = nullptr;

void body()
{
    running->run(running_params);
    current->done = true;
}

void run_block(std::vector<Coroutine> &threads)
{
    size_t i = 0;
    for (unsigned z = 0; z < blockDim.z; z++) {
        for (unsigned y = 0; y < blockDim.y; y++) {
            for (unsigned x = 0; x < blockDim.x; x++, i++) {
                Coroutine &t = threads[i];
                t.index = {x, y, z};
                t.done = false;
                getcontext(&t.context);
                t.context.uc_stack.ss_sp = t.stack.data();
                t.context.uc_stack.ss_size = t.stack.size();
                t.context.uc_link = &scheduler;
                makecontext(&t.context, body, 0);
            }
        }
    }
    size_t left = threads.size();
    while (left > 0) {
        for (Coroutine &t : threads) {
            if (t.done) {
                continue;
            }
            current = &t;
            threadIdx = t.index;
            swapcontext(&scheduler, &t.context);
            left -= t.done ? 1 : 0;
        }
    }
}

template <typename T> T *handle(T *h)
{
    handles.insert(h);
    return h;
}

bool known(void *h) { return handles.count(h) == 1; }

char *inside(uint64_t at, size_t bytes)
{
    auto next = allocations.upper_bound(at);
    if (next == allocations.begin()) {
        return nullptr;
    }
    auto &[start, block] = *--next;
    return at + bytes <= start + block.second ? reinterpret_cast<char *>(at) : nullptr;
}

struct Event {
    std::chrono::steady_clock::time_point at;
    bool recorded;
};

} // namespace

void __syncthreads()
{
    swapcontext(&current->context, &scheduler);
    threadIdx = current->index;
}

extern "C" {

void emulated_fail(const char *name, int code)
{
    const std::lock_guard<std::recursive_mutex> hold(gate);
    fail_name = name;
    fail_code = code;
}
size_t emulated_alive(void)
{
    const std::lock_guard<std::recursive_mutex> hold(gate);
    return handles.size() + allocations.size();
}
void emulated_memory(size_t bytes) { total_memory = bytes; }

int cuInit(unsigned int flags)
{
    const std::lock_guard<std::recursive_mutex> hold(gate);
    if (getenv("EMULATED_CUDA_NO_DEVICE")) {
        return NO_DEVICE;
    }
    if (const int failed = enter("cuInit", true)) {
        return failed;
    }
    ready = true;
    return flags == 0 ? 0 : INVALID_VALUE;
}
int cuDriverGetVersion(int *version)
{
    *version = 12060;
    return 0;
}
int cuDeviceGetCount(int *count)
{
    ENTER("cuDeviceGetCount");
    *count = 1;
    return 0;
}
int cuDeviceGet(int *device, int ordinal)
{
    ENTER("cuDeviceGet");
    *device = ordinal;
    return ordinal == 0 ? 0 : 101;
}
int cuDeviceGetName(char *name, int len, int)
{
    ENTER("cuDeviceGetName");
    std::snprintf(name, len, "emulated GPU");
    return 0;
}
int cuDeviceGetAttribute(int *value, int attribute, int)
{
    ENTER("cuDeviceGetAttribute");
    *value = attribute == 75 ? 8 : attribute == 76 ? 7 : attribute == 16 ? 1 : 0;
    return 0;
}
int cuDeviceTotalMem_v2(size_t *bytes, int)
{
    ENTER("cuDeviceTotalMem_v2");
    *bytes = total_memory;
    return 0;
}
int cuDevicePrimaryCtxRetain(void **context, int)
{
    ENTER("cuDevicePrimaryCtxRetain");
    *context = handle(new char);
    return 0;
}
int cuDevicePrimaryCtxRelease_v2(int) {
    ENTER("cuDevicePrimaryCtxRelease_v2");
    return 0;
}
int cuCtxSetCurrent(void *context)
{
    ENTER("cuCtxSetCurrent");
    return known(context) ? 0 : INVALID_HANDLE;
}
int cuMemGetInfo_v2(size_t *available, size_t *total)
{
    ENTER("cuMemGetInfo_v2");
    *available = total_memory - allocated;
    *total = total_memory;
    return 0;
}
int cuMemAlloc_v2(uint64_t *at, size_t bytes)
{
    ENTER("cuMemAlloc_v2");
    if (bytes == 0) {
        return INVALID_VALUE;
    }
    if (allocated + bytes > total_memory) {
        return OUT_OF_MEMORY;
    }
    char *memory = static_cast<char *>(aligned_alloc(256, (bytes + 255) / 256 * 256));
    std::memset(memory, 0xa5, bytes); // As a device: whatever was there before.
    *at = reinterpret_cast<uint64_t>(memory);
    allocations[*at] = {memory, bytes};
    allocated += bytes;
    return 0;
}
int cuMemFree_v2(uint64_t at)
{
    ENTER("cuMemFree_v2");
    auto found = allocations.find(at);
    if (found == allocations.end()) {
        return INVALID_VALUE;
    }
    allocated -= found->second.second;
    free(found->second.first);
    allocations.erase(found);
    return 0;
}
int cuMemAllocHost_v2(void **at, size_t bytes)
{
    ENTER("cuMemAllocHost_v2");
    *at = handle(static_cast<char *>(aligned_alloc(256, (bytes + 255) / 256 * 256)));
    return 0;
}
int cuMemFreeHost(void *at)
{
    ENTER("cuMemFreeHost");
    if (!known(at)) {
        return INVALID_VALUE;
    }
    handles.erase(at);
    free(at);
    return 0;
}
int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *)
{
    ENTER("cuMemcpyHtoDAsync_v2");
    char *memory = inside(to, bytes);
    return memory ? (std::memcpy(memory, from, bytes), 0) : INVALID_VALUE;
}
int cuMemcpyDtoHAsync_v2(void *to, uint64_t from, size_t bytes, void *)
{
    ENTER("cuMemcpyDtoHAsync_v2");
    char *memory = inside(from, bytes);
    return memory ? (std::memcpy(to, memory, bytes), 0) : INVALID_VALUE;
}
int cuMemcpyDtoDAsync_v2(uint64_t to, uint64_t from, size_t bytes, void *)
{
    ENTER("cuMemcpyDtoDAsync_v2");
    char *a = inside(to, bytes), *b = inside(from, bytes);
    return a && b ? (std::memmove(a, b, bytes), 0) : INVALID_VALUE;
}
int cuMemsetD8Async(uint64_t at, unsigned char value, size_t bytes, void *)
{
    ENTER("cuMemsetD8Async");
    char *memory = inside(at, bytes);
    return memory ? (std::memset(memory, value, bytes), 0) : INVALID_VALUE;
}
int cuStreamCreate(void **stream, unsigned int)
{
    ENTER("cuStreamCreate");
    *stream = handle(new char);
    return 0;
}
int cuStreamDestroy_v2(void *stream)
{
    ENTER("cuStreamDestroy_v2");
    if (!known(stream)) {
        return INVALID_HANDLE;
    }
    handles.erase(stream);
    delete static_cast<char *>(stream);
    return 0;
}
int cuStreamSynchronize(void *)
{
    ENTER("cuStreamSynchronize");
    return 0;
}
int cuStreamQuery(void *)
{
    ENTER("cuStreamQuery");
    return 0;
}
int cuStreamWaitEvent(void *, void *event, unsigned int)
{
    ENTER("cuStreamWaitEvent");
    return known(event) ? 0 : INVALID_HANDLE;
}
int cuEventCreate(void **event, unsigned int)
{
    ENTER("cuEventCreate");
    *event = handle(new Event{});
    return 0;
}
int cuEventDestroy_v2(void *event)
{
    ENTER("cuEventDestroy_v2");
    if (!known(event)) {
        return INVALID_HANDLE;
    }
    handles.erase(event);
    delete static_cast<Event *>(event);
    return 0;
}
int cuEventRecord(void *event, void *)
{
    ENTER("cuEventRecord");
    static_cast<Event *>(event)->at = std::chrono::steady_clock::now();
    static_cast<Event *>(event)->recorded = true;
    return 0;
}
int cuEventSynchronize(void *)
{
    ENTER("cuEventSynchronize");
    return 0;
}
int cuEventElapsedTime(float *ms, void *from, void *to)
{
    ENTER("cuEventElapsedTime");
    const Event *a = static_cast<Event *>(from), *b = static_cast<Event *>(to);
    if (!a->recorded || !b->recorded) {
        return INVALID_HANDLE;
    }
    *ms = std::chrono::duration<float, std::milli>(b->at - a->at).count();
    return 0;
}
int cuModuleLoadData(void **module, const void *image)
{
    ENTER("cuModuleLoadData");
    if (std::strncmp(static_cast<const char *>(image), "emulated", 8) != 0) {
        return INVALID_IMAGE;
    }
    *module = handle(new char);
    return 0;
}
int cuModuleUnload(void *module)
{
    ENTER("cuModuleUnload");
    if (!known(module)) {
        return INVALID_HANDLE;
    }
    handles.erase(module);
    delete static_cast<char *>(module);
    return 0;
}
int cuModuleGetFunction(void **function, void *module, const char *name)
{
    ENTER("cuModuleGetFunction");
    if (!known(module)) {
        return INVALID_HANDLE;
    }
    for (const Kernel &k : KERNELS) {
        if (std::strcmp(k.name, name) == 0) {
            *function = const_cast<Kernel *>(&k);
            return 0;
        }
    }
    return NOT_FOUND;
}
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned, void *, void **params, void **)
{
    ENTER("cuLaunchKernel");
    const uint64_t threads = uint64_t(bx) * by * bz;
    if (threads == 0 || threads > 1024 || gx == 0 || gy == 0 || gz == 0 || gy > 65535 || gz > 65535) {
        return INVALID_VALUE;
    }
    running = static_cast<Kernel *>(function);
    running_params = params;
    blockDim = {bx, by, bz};
    gridDim = {gx, gy, gz};
    static std::vector<Coroutine> coroutines;
    if (running->barriers && coroutines.size() != threads) {
        coroutines = std::vector<Coroutine>(threads);
        for (Coroutine &c : coroutines) {
            c.stack.resize(64 << 10);
        }
    }
    for (unsigned z = 0; z < gz; z++) {
        for (unsigned y = 0; y < gy; y++) {
            for (unsigned x = 0; x < gx; x++) {
                blockIdx = {x, y, z};
                if (running->barriers) {
                    run_block(coroutines);
                    continue;
                }
                for (unsigned tz = 0; tz < bz; tz++) {
                    for (unsigned ty = 0; ty < by; ty++) {
                        for (unsigned tx = 0; tx < bx; tx++) {
                            threadIdx = {tx, ty, tz};
                            running->run(params);
                        }
                    }
                }
            }
        }
    }
    return 0;
}
int cuGetErrorName(int error, const char **name)
{
    static const std::map<int, const char *> NAMES = {
        {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"}, {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"},
        {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED"}, {NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
        {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE"}, {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE"},
        {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"}, {719, "CUDA_ERROR_LAUNCH_FAILED"},
    };
    auto found = NAMES.find(error);
    if (found == NAMES.end()) {
        return INVALID_VALUE;
    }
    *name = found->second;
    return 0;
}

// ---- NVRTC: every source "compiles" to an image that names the kernels compiled in above

int nvrtcVersion(int *major, int *minor)
{
    *major = 12, *minor = 6;
    return 0;
}
int nvrtcCreateProgram(void **program, const char *, const char *, int, const char *const *, const char *const *)
{
    *program = new char;
    return 0;
}
int nvrtcCompileProgram(void *, int, const char *const *) { return 0; }
int nvrtcGetProgramLogSize(void *, size_t *size)
{
    *size = 1;
    return 0;
}
int nvrtcGetProgramLog(void *, char *log)
{
    *log = 0;
    return 0;
}
int nvrtcGetCUBINSize(void *, size_t *size)
{
    *size = 8;
    return 0;
}
int nvrtcGetCUBIN(void *, char *image)
{
    std::memcpy(image, "emulated", 8);
    return 0;
}
int nvrtcDestroyProgram(void **program)
{
    delete static_cast<char *>(*program);
    return 0;
}

} // extern "C"
