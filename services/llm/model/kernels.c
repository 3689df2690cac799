/* What stands between the matrix products of a decoding step.

   Elements are float32, or bfloat16 where BFLOAT16 is defined; sums are float32 in either case. Rows are sequences,
   each with one new token. Vectors are 16 numbers long whatever the machine: the compiler makes of them what it has.
   Every size that counts elements is a multiple of 16, and a block holds 16 tokens. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#define LANES 16
#define MOST_SHARED 32  /* queries of a group */
#define MOST_VECTORS 16 /* of a head */
#define MOST_PAIRS (MOST_VECTORS * LANES / 2)
#define FEW_BLOCKS 16   /* not worth waking another thread */

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t ivec __attribute__((vector_size(4 * LANES)));

#ifdef BFLOAT16 /* the upper half of a float32 */
typedef uint16_t element;
typedef uint16_t half __attribute__((vector_size(2 * LANES)));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));

static inline vec load(const element *from) {
    half x;
    memcpy(&x, from, sizeof x);
    return (vec)(__builtin_convertvector(x, bits) << 16);
}

static inline void store(element *to, vec x) {
    bits whole = (bits)x, nearest = (whole + 0x7fff + (whole >> 16 & 1)) >> 16; /* ties to even */
    half rounded = __builtin_convertvector(nearest, half);
    memcpy(to, &rounded, sizeof rounded);
}
#else
typedef float element;

static inline vec load(const element *from) {
    vec x;
    memcpy(&x, from, sizeof x);
    return x;
}

static inline void store(element *to, vec x) { memcpy(to, &x, sizeof x); }
#endif

static inline vec all(float x) { return x - (vec){0}; }

static inline vec choose(ivec where, vec yes, vec no) {
    return (vec)((where & (ivec)yes) | (~where & (ivec)no));
}

static inline float sum_of(vec x) {
    float sum = 0;
    for (int i = 0; i < LANES; i++) sum += x[i];
    return sum;
}

static inline float largest_of(vec x) {
    vec y = __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15, 0, 1, 2, 3, 4, 5, 6, 7);
    x = choose(x > y, x, y);
    y = __builtin_shufflevector(x, x, 4, 5, 6, 7, 0, 1, 2, 3, 12, 13, 14, 15, 8, 9, 10, 11);
    x = choose(x > y, x, y);
    float largest = x[0];
    for (int i = 1; i < 4; i++) largest = x[i] > largest ? x[i] : largest;
    return largest;
}

/* Sums of 16 vectors as one vector: halves, quarters, eighths and neighbours are added up. */
static inline vec sums_of(vec x[LANES]) {
    for (int i = 0; i < 8; i++)
        x[i] = __builtin_shufflevector(x[i], x[i + 8], 0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23)
             + __builtin_shufflevector(x[i], x[i + 8], 8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31);
    for (int i = 0; i < 4; i++)
        x[i] = __builtin_shufflevector(x[i], x[i + 4], 0, 1, 2, 3, 16, 17, 18, 19, 8, 9, 10, 11, 24, 25, 26, 27)
             + __builtin_shufflevector(x[i], x[i + 4], 4, 5, 6, 7, 20, 21, 22, 23, 12, 13, 14, 15, 28, 29, 30, 31);
    for (int i = 0; i < 2; i++)
        x[i] = __builtin_shufflevector(x[i], x[i + 2], 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29)
             + __builtin_shufflevector(x[i], x[i + 2], 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    return __builtin_shufflevector(x[0], x[1], 0, 16, 2, 18, 4, 20, 6, 22, 8, 24, 10, 26, 12, 28, 14, 30)
         + __builtin_shufflevector(x[0], x[1], 1, 17, 3, 19, 5, 21, 7, 23, 9, 25, 11, 27, 13, 29, 15, 31);
}

/* e to the x: a power of two times a polynomial over [-ln 2 / 2, ln 2 / 2], to the last bit or two; what float32
   cannot hold ends at its limits. */
static inline vec exponential(vec x) {
    x = choose(x < -87.0f, all(-87.0f), choose(x > 88.0f, all(88.0f), x));
    vec n = x * 1.44269504f + 12582912.0f - 12582912.0f; /* rounds: there is no room for a fraction */
    vec r = x - n * 0.693359375f + n * 2.12194440e-4f;   /* ln 2 in two parts */
    vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    return p * (vec)((__builtin_convertvector(n, ivec) + 127) << 23);
}

/* Turns neighbouring channels as pairs; a head's channels beyond the pairs stay. */
static inline void rotate(element *x, const float *cosine, const float *sine, int64_t pairs) {
    float turned[2 * MOST_PAIRS];
    for (int64_t i = 0; i < 2 * pairs; i += LANES) {
        vec whole = load(x + i);
        memcpy(turned + i, &whole, sizeof whole);
    }
    for (int64_t i = 0; i < pairs; i++) {
        float even = turned[2 * i], odd = turned[2 * i + 1];
        turned[2 * i] = even * cosine[i] - odd * sine[i];
        turned[2 * i + 1] = odd * cosine[i] + even * sine[i];
    }
    for (int64_t i = 0; i < 2 * pairs; i += LANES) {
        vec whole;
        memcpy(&whole, turned + i, sizeof whole);
        store(x + i, whole);
    }
}

/* What one query has seen so far: a softmax not yet divided by its sum. */
typedef struct {
    float top;
    vec sum, total[MOST_VECTORS];
} Sight;

/* Takes in the first `count` tokens of a block. */
static inline void look(Sight *sight, const element *query, const element *keys, const element *values,
                        int64_t token_stride, int64_t vectors, int64_t count, float scale) {
    const ivec lane = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}, seen = lane < (int32_t)count;
    vec product[LANES];
    for (int t = 0; t < LANES; t++, keys += token_stride) {
        product[t] = load(query) * load(keys);
        for (int64_t c = 1; c < vectors; c++) product[t] += load(query + c * LANES) * load(keys + c * LANES);
    }
    vec score = choose(seen, sums_of(product) * scale, all(-INFINITY));
    float best = largest_of(score);
    if (best > sight->top) {
        vec fade = exponential(all(sight->top - best));
        sight->top = best, sight->sum *= fade;
        for (int64_t c = 0; c < vectors; c++) sight->total[c] *= fade;
    }
    score = choose(seen, exponential(score - sight->top), all(0));
    sight->sum += score;
    for (int64_t c = 0; c < vectors; c++) {
        vec mixed = sight->total[c];
        for (int t = 0; t < LANES; t++) mixed += score[t] * load(values + t * token_stride + c * LANES);
        sight->total[c] = mixed;
    }
}

/* Turns queries and keys, stores keys and values, and looks at all that each row keeps.

   qkv [rows, groups * (shared + 2), channels]: queries, keys, values; changed in place. cosine, sine [rows, pairs].
   cache [blocks, 16, 2, groups, channels]. table [rows, width]: the blocks of each. last [rows]: index of the new
   token. out [rows, groups * shared, channels]. */
void attend(element *out, element *qkv, const float *cosine, const float *sine, element *cache,
            const int64_t *table, const int64_t *last, int64_t rows, int64_t width, int64_t groups, int64_t shared, int64_t channels,
            int64_t pairs, float scale) {
    const int64_t heads = groups * shared, vectors = channels / LANES, token_stride = 2 * groups * channels;
#pragma omp parallel for collapse(2) schedule(static) if (rows * width > FEW_BLOCKS)
    for (int64_t row = 0; row < rows; row++)
        for (int64_t group = 0; group < groups; group++) {
            element *own = qkv + row * (heads + 2 * groups) * channels;
            element *queries = own + group * shared * channels, *key = own + (heads + group) * channels;
            const float *c = cosine + row * pairs, *s = sine + row * pairs;
            rotate(key, c, s, pairs);

            const int64_t *blocks = table + row * width, length = last[row] + 1;
            element *mine = cache + group * channels;
            element *slot = mine + (blocks[last[row] / LANES] * LANES + last[row] % LANES) * token_stride;
            memcpy(slot, key, channels * sizeof(element));
            memcpy(slot + groups * channels, key + groups * channels, channels * sizeof(element));

            Sight sights[MOST_SHARED];
            for (int64_t q = 0; q < shared; q++) {
                rotate(queries + q * channels, c, s, pairs);
                sights[q] = (Sight){.top = -INFINITY};
            }
            for (int64_t start = 0; start < length; start += LANES) {
                const element *keys = mine + blocks[start / LANES] * LANES * token_stride;
                const element *values = keys + groups * channels;
                for (int64_t q = 0; q < shared; q++)
                    look(&sights[q], queries + q * channels, keys, values, token_stride, vectors, length - start,
                         scale);
            }
            element *to = out + (row * heads + group * shared) * channels;
            for (int64_t q = 0; q < shared; q++)
                for (int64_t v = 0; v < vectors; v++)
                    store(to + q * channels + v * LANES, sights[q].total[v] / sum_of(sights[q].sum));
        }
}

static inline void norm(element *to, const element *from, const element *weight, int64_t width, float eps) {
    vec squares = all(0);
    for (int64_t i = 0; i < width; i += LANES) squares += load(from + i) * load(from + i);
    float scale = 1.0f / sqrtf(sum_of(squares) / (float)width + eps);
    for (int64_t i = 0; i < width; i += LANES) store(to + i, load(from + i) * scale * load(weight + i));
}

/* x += norm(y), or y as it is where it has no weight; out = norm(x). All [rows, width]; y is changed. */
void add_and_norm(element *out, element *x, element *y, const element *weight_y, const element *weight_x,
                  int64_t rows, int64_t width, float eps) {
    for (int64_t row = 0; row < rows; row++, out += width, x += width, y += width) {
        if (weight_y) norm(y, y, weight_y, width, eps);
        for (int64_t i = 0; i < width; i += LANES) store(x + i, load(x + i) + load(y + i));
        norm(out, x, weight_x, width, eps);
    }
}

/* SiLU of the first half, times the second: gate_up [rows, 2 * width], out [rows, width]. */
void gate(element *out, const element *gate_up, int64_t rows, int64_t width) {
    for (int64_t row = 0; row < rows; row++, out += width, gate_up += 2 * width)
        for (int64_t i = 0; i < width; i += LANES) {
            vec x = load(gate_up + i);
            store(out + i, x / (exponential(-x) + 1.0f) * load(gate_up + width + i));
        }
}
