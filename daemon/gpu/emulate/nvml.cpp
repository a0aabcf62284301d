// A stand-in for NVML, NVIDIA's management library: two GPUs, of which the second tells little. With -DFAILS
// the library refuses to start.
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace {
constexpr int NOT_SUPPORTED = 3, INVALID = 2, UNINITIALIZED = 1;
int started = 0;
struct Device {
    unsigned index;
} devices[2] = {{0}, {1}};
int full(void *device) { return started < 1 ? UNINITIALIZED : static_cast<Device *>(device)->index == 0 ? 0 : NOT_SUPPORTED; }
template <typename T> int give(void *device, T *to, T value)
{
    const int code = full(device);
    if (code == 0) {
        *to = value;
    }
    return code;
}
struct Memory {
    unsigned long long total, free, used;
};
struct Utilization {
    unsigned gpu, memory;
};
} // namespace

extern "C" {
int nvmlInit_v2(void)
{
#ifdef FAILS
    return 9;
#endif
    started++;
    return 0;
}
int nvmlShutdown(void)
{
    return started-- < 1 ? UNINITIALIZED : 0;
}
int fake_started(void) { return started; }
int nvmlDeviceGetCount_v2(unsigned *count)
{
    *count = 2;
    return started < 1 ? UNINITIALIZED : 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device)
{
    if (index > 1) {
        return INVALID;
    }
    *device = &devices[index];
    return 0;
}
int nvmlDeviceGetName(void *device, char *name, unsigned length)
{
    return std::snprintf(name, length, "fake GPU %u", static_cast<Device *>(device)->index) > 0 ? 0 : INVALID;
}
int nvmlDeviceGetTemperature(void *d, int sensor, unsigned *t) { return sensor == 0 ? give(d, t, 83u) : INVALID; }
int nvmlDeviceGetPowerUsage(void *d, unsigned *mw) { return give(d, mw, 69500u); }
int nvmlDeviceGetClockInfo(void *d, int type, unsigned *mhz) { return type == 1 ? give(d, mhz, 1410u) : INVALID; }
int nvmlDeviceGetMaxClockInfo(void *d, int type, unsigned *mhz) { return type == 1 ? give(d, mhz, 1980u) : INVALID; }
int nvmlDeviceGetMemoryInfo(void *d, Memory *m) { return give(d, m, Memory{8000, 2000, 6000}); }
int nvmlDeviceGetUtilizationRates(void *d, Utilization *u) { return give(d, u, Utilization{57, 12}); }
int nvmlDeviceGetCurrentClocksThrottleReasons(void *d, unsigned long long *r) { return give(d, r, 0x20ull); }
} // extern "C"
