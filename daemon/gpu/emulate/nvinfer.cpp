// A stand-in for TensorRT, its ONNX parser included, of the major version VERSION (8, 10, 11, or 1 for RTX): as much of
// it as this crate calls, for tests of loading, lifetimes and error paths. Its tables are written out by hand from
// NVIDIA's headers, not taken from src/trt/slots.rs; a call to any other place ends the process with its number.
//
// Its one network doubles every value of the input `in` (-1 x 3 floats) into `out`. A model is any text that does not
// begin with `bad`; a plan is `plan of VERSION`.
//
// With -DDETECTOR the network is a detector of FastestDet's family instead: `images` (1 x 3 x 64 x 64) to `output`
// (1 x 6 x 4 x 4), of each cell of 16 pixels: the mean of its values, 0, 0, -1.1, -1.1, 1.
//
// Faults on demand: the word in the file `fault` beside this library (the first word; see `fault`).
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <dlfcn.h>
#include <fstream>
#include <string>
#include <unistd.h>

#ifndef VERSION
#error "give -DVERSION=8, 10, 11 or 1"
#endif

#if VERSION == 8
typedef int32_t Side;
#else
typedef int64_t Side;
#endif
struct Dims {
    int32_t count;
    Side d[8];
};

namespace {

typedef void (*Method)();
constexpr int PLACES = 64;

// What lies at a place that nobody should call.
template <int N> void nobody()
{
    std::fprintf(stderr, "stand-in for TensorRT %d: nothing is at place %d\n", VERSION, N);
    std::abort();
}
template <int N> struct Fill {
    static void fill(Method *table)
    {
        table[N] = nobody<N>;
        Fill<N - 1>::fill(table);
    }
};
template <> struct Fill<-1> {
    static void fill(Method *) {}
};

struct Table {
    Method at[PLACES];
    Table() { Fill<PLACES - 1>::fill(at); }
    template <typename F> Table &set(int place, F *f)
    {
        if (place >= 0) {
            at[place] = reinterpret_cast<Method>(f);
        }
        return *this;
    }
};

int alive = 0;

struct Object {
    Method *table; // of the outside: two destructors
    struct Inside *inside;
};
struct Inside {
    Method *table;
    Object outside;
    int32_t profiles = 0;
    Side rows = -1;
    float *in = nullptr, *out = nullptr;
    std::string bytes;
};

void destroy(Object *o)
{
    alive--;
    delete o->inside;
}

Object *make(Table &table)
{
    static Table outside = Table().set(0, destroy).set(1, destroy);
    Inside *inside = new Inside;
    inside->table = table.at;
    inside->outside = {outside.at, inside};
    alive++;
    return &inside->outside;
}

// Place by version: 8, 10, 11, RTX.
int place(int eight, int ten, int eleven, int rtx)
{
    return VERSION == 8 ? eight : VERSION == 10 ? ten : VERSION == 11 ? eleven : rtx;
}

// ---- faults

// Whether the file beside this library asks for this fault now.
bool fault(const char *wanted)
{
    Dl_info info;
    if (!dladdr(reinterpret_cast<void *>(&fault), &info)) {
        return false;
    }
    const std::string path = info.dli_fname;
    std::ifstream file(path.substr(0, path.rfind('/') + 1) + "fault");
    std::string word;
    return file >> word && word == wanted;
}
void hang_while(const char *wanted)
{
    while (fault(wanted)) {
        usleep(10000);
    }
}

// ---- the logger that the caller gives

void *the_logger = nullptr;
void say(int severity, const char *text)
{
    typedef void (*Log)(void *, int32_t, const char *);
    Method *table = *static_cast<Method **>(the_logger);
    reinterpret_cast<Log>(table[place(0, 0, 4, 4)])(the_logger, severity, text);
}

bool logger_is_sound(void *logger)
{
    // As TensorRT does since 11: ask for the interface's name.
    if (VERSION == 8 || VERSION == 10) {
        return true;
    }
    struct Info {
        const char *kind;
        int32_t major, minor;
    };
    typedef Info (*GetInfo)(void *);
    Method *table = *static_cast<Method **>(logger);
    const Info info = reinterpret_cast<GetInfo>(table[1])(logger);
    return std::strcmp(info.kind, "ILogger") == 0 && info.major == 1;
}

// ---- memory

const void *memory_data(Inside *m) { return m->bytes.data(); }
size_t memory_size(Inside *m) { return m->bytes.size(); }
Table &memory_table()
{
    static Table t = Table().set(2, memory_data).set(3, memory_size);
    return t;
}

// ---- building

Table &network_table();
Table &config_table();

Object *create_network(Inside *, uint32_t flags)
{
    if (flags != (VERSION == 8 ? 1u : 0u)) {
        say(1, "networks must be of explicit batch");
        return nullptr;
    }
    return make(network_table());
}
int32_t one(Inside *) { return 1; }
int32_t seven(Inside *) { return 7; }
#ifdef DETECTOR
const char *IN = "images", *OUT = "output";
Dims shape_of(const char *name)
{
    Dims in = {4, {1, 3, 64, 64}}, out = {4, {1, 6, 4, 4}};
    return std::strcmp(name, IN) == 0 ? in : out;
}
#else
const char *IN = "in", *OUT = "out";
Dims shape_of(const char *)
{
    Dims d = {2, {-1, 3}};
    return d;
}
#endif
const char *in_name(Inside *) { return IN; }
Dims open_rows(Inside *) { return shape_of(IN); }
Object *network_input(Inside *, int32_t)
{
    static Table t = Table().set(3, in_name).set(5, open_rows);
    static Object *tensor = (alive--, make(t)); // Belongs to the network.
    return tensor;
}

Object *create_config(Inside *)
{
    return make(config_table());
}
void set_flag(Inside *, int32_t) {}
void set_memory(Inside *, int32_t, size_t) {}
bool yes(Inside *, int32_t) { return true; }
bool yes_two(Inside *, int32_t, int32_t) { return true; }
int32_t add_profile(Inside *config, Object *) { return config->profiles++; }
bool set_dimensions(Inside *profile, const char *name, int32_t which, const Dims *shape)
{
    profile->profiles |= 1 << which;
    return std::strcmp(name, "in") == 0 && shape->count == 2 && shape->d[1] == 3;
}
Object *create_profile(Inside *)
{
    static Table t = Table().set(2, set_dimensions);
    static Object *profile = (alive--, make(t)); // Belongs to the builder.
    return profile;
}
Object *build(Inside *, Object *, Object *config)
{
    if (fault("build_crashes")) {
        std::abort();
    }
    hang_while("build_hangs");
    if (fault("build_fails")) {
        say(1, "Could not find any implementation for node Conv_0.");
        return nullptr;
    }
#ifdef DETECTOR
    config->inside->profiles = 1;
#endif
    if (config->inside->profiles == 0) {
        say(1, "Network has dynamic or shape inputs, but no optimization profile has been defined.");
        return nullptr;
    }
    Object *memory = make(memory_table());
    memory->inside->bytes = "plan of " + std::to_string(VERSION);
    return memory;
}

// ---- parsing: a plain class

struct Parser {
    Method *table;
};
struct Error {
    Method *table;
};
bool parse(Parser *, const char *model, size_t size, const char *) { return size < 3 || std::strncmp(model, "bad", 3) != 0; }
int32_t parser_errors(Parser *) { return 1; }
const char *description(Error *) { return "unsupported node: Bad"; }
Error *parser_error(Parser *, int32_t)
{
    static Table t = Table().set(1, description);
    static Error e = {t.at};
    return &e;
}

// ---- running

bool set_shape(Inside *c, const char *name, const Dims *shape)
{
    if (std::strcmp(name, "in") != 0 || shape->count != 2 || shape->d[1] != 3 || shape->d[0] < 1 || shape->d[0] > 4) {
        say(1, "shape is outside of the profile");
        return false;
    }
    c->rows = shape->d[0];
    return true;
}
Dims context_shape(Inside *c, const char *name)
{
#ifdef DETECTOR
    return (void)c, shape_of(name);
#endif
    (void)name;
    Dims d = {2, {c->rows, 3}};
    return d;
}
bool set_address(Inside *c, const char *name, void *data)
{
    (std::strcmp(name, IN) == 0 ? c->in : c->out) = static_cast<float *>(data);
    return true;
}
#ifdef DETECTOR
void look(const float *in, float *out)
{
    const bool wrong = fault("wrong_answers");
    for (int y = 0; y < 4; y++) {
        for (int x = 0; x < 4; x++) {
            double sum = 0;
            for (int c = 0; c < 3; c++) {
                for (int i = 0; i < 256; i++) {
                    sum += in[c * 4096 + (y * 16 + i / 16) * 64 + x * 16 + i % 16];
                }
            }
            const float mean = wrong ? 0.5f : float(sum / 768);
            const float values[6] = {mean, 0, 0, -1.1f, -1.1f, 1};
            for (int k = 0; k < 6; k++) {
                out[k * 16 + y * 4 + x] = values[k];
            }
        }
    }
}
#endif
bool enqueue(Inside *c, void *stream)
{
    hang_while("enqueue_hangs");
    if (fault("out_of_memory")) {
        say(1, "CUDA failure: out of memory");
        return false;
    }
#ifdef DETECTOR
    if (!stream || !c->in || !c->out) {
        return false;
    }
    look(c->in, c->out);
    return true;
#endif
    if (!stream || !c->in || !c->out || c->rows < 0) {
        say(1, "enqueueV3: not all tensors are bound");
        return false;
    }
    for (Side i = 0; i < c->rows * 3; i++) {
        c->out[i] = 2.0f * c->in[i];
    }
    return true;
}
Object *create_context(Inside *, int32_t)
{
    static Table t = Table()
                         .set(place(29, 21, 20, 20), set_shape)
                         .set(place(30, 22, 21, 21), context_shape)
                         .set(place(32, 24, 23, 23), set_address)
                         .set(place(44, 37, 36, 36), enqueue);
    return make(t);
}
int32_t two(Inside *) { return 2; }
const char *tensor_name(Inside *, int32_t i) { return i == 0 ? IN : OUT; }
int32_t tensor_mode(Inside *, const char *name) { return std::strcmp(name, IN) == 0 ? 1 : 2; }
int32_t tensor_type(Inside *, const char *) { return 0; }
Dims tensor_shape(Inside *, const char *name) { return shape_of(name); }
Object *deserialize(Inside *, const char *blob, size_t size, void *third)
{
    const std::string want = "plan of " + std::to_string(VERSION);
    if (fault("plan_refused") || size != want.size() || std::memcmp(blob, want.data(), size) != 0 || (VERSION == 8 && third)) {
        say(1, "Version tag does not match");
        return nullptr;
    }
    static Table t = Table()
                         .set(place(11, 5, 5, 5), create_context)
                         .set(place(34, 19, 15, 15), tensor_shape)
                         .set(place(35, 20, 16, 16), tensor_type)
                         .set(place(38, 23, 19, 19), tensor_mode)
                         .set(place(45, 30, 26, 26), two)
                         .set(place(46, 31, 27, 27), tensor_name);
    return make(t);
}

Table &network_table()
{
    static Table t = Table()
                         .set(place(19, 14, 14, 14), one)
                         .set(place(20, 15, 15, 15), network_input)
                         .set(place(17, 12, 12, 12), seven);
    return t;
}
Table &config_table()
{
    static Table t = Table()
                         .set(place(15, 11, 9, 9), set_flag)
                         .set(place(29, 25, 23, 23), add_profile)
                         .set(place(47, 43, 32, 32), set_memory)
                         .set(place(-1, -1, -1, 55), yes)
                         .set(place(-1, -1, -1, 57), yes_two);
    return t;
}

} // namespace

extern "C" {

#ifndef SAYS
#define SAYS (VERSION == 8 ? 8502 : VERSION == 10 ? 100300 : VERSION == 11 ? 110400 : 10701)
#endif

int32_t getInferLibVersion(void) { return SAYS; }
int32_t fake_alive(void) { return alive; }

void *createInferRuntime_INTERNAL(void *logger, int32_t version)
{
    if (getenv("FAKE_TENSORRT_NO_DRIVER")) {
        return reinterpret_cast<void *>(0x228); // As lean 11.4.
    }
    if (version != SAYS || !logger_is_sound(logger)) {
        return nullptr;
    }
    the_logger = logger;
    static Table t = Table().set(place(2, 3, 3, 3), deserialize);
    return make(t);
}

void *createInferBuilder_INTERNAL(void *logger, int32_t version)
{
    if (version != SAYS || !logger_is_sound(logger)) {
        return nullptr;
    }
    the_logger = logger;
    static Table t = Table()
                         .set(place(11, 8, 6, 6), create_network)
                         .set(place(9, 7, 5, 5), create_config)
                         .set(place(12, 9, 7, 7), create_profile)
                         .set(place(17, 14, 11, 11), build);
    return make(t);
}

void *createNvOnnxParser_INTERNAL(void *network, void *logger, int version)
{
    static Table t = Table().set(0, parse).set(place(6, 5, 3, 3), parser_errors).set(place(7, 6, 4, 4), parser_error);
    static Parser p = {t.at};
    return network && logger && version == 100 ? &p : nullptr;
}

} // extern "C"
