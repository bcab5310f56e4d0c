// One diffGrad step over many tensors: a C interface, no torch headers, threads over one global element range.
// Built by diffwright/optim/native.py on first use, once for each DIFFGRAD_PARAM (type of parameter, gradient and
// moments), DIFFGRAD_PREVIOUS (of the previous gradient) and DIFFGRAD_MATH. The rule is in diffwright/optim/rule.py.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <system_error>
#include <thread>
#include <vector>

namespace {

template <class To, class From>
inline To bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "same size");
    To to;
    std::memcpy(&to, &from, sizeof to);
    return to;
}

struct Bfloat16 { uint16_t raw; };
struct Float16 { uint16_t raw; };

inline float widen(float x) { return x; }
inline double widen(double x) { return x; }
inline float widen(Bfloat16 x) { return bits<float>(uint32_t(x.raw) << 16); }

inline float widen(Float16 x) {
    const uint32_t sign = uint32_t(x.raw & 0x8000u) << 16, magnitude = x.raw & 0x7fffu;
    const float finite = bits<float>(magnitude << 13) * 0x1p112f;  // subnormal halves become normal floats
    const uint32_t special = (magnitude << 13) | 0x7f800000u;      // infinity and NaN
    return bits<float>((magnitude < 0x7c00u ? bits<uint32_t>(finite) : special) | sign);
}

inline void narrow(float x, float& out) { out = x; }
inline void narrow(double x, double& out) { out = x; }

inline void narrow(float x, Bfloat16& out) {  // round to nearest, ties to even
    const uint32_t raw = bits<uint32_t>(x), rounded = (raw + 0x7fffu + ((raw >> 16) & 1u)) >> 16;
    out.raw = uint16_t(x == x ? rounded : 0x7fc0u);
}

inline void narrow(double x, Bfloat16& out) { narrow(float(x), out); }

inline void narrow(float x, Float16& out) {
    const uint32_t raw = bits<uint32_t>(x), sign = (raw >> 16) & 0x8000u, magnitude = raw & 0x7fffffffu;
    const uint32_t normal = (magnitude - 0x38000000u + 0xfffu + ((magnitude >> 13) & 1u)) >> 13;
    const uint32_t subnormal = bits<uint32_t>(bits<float>(magnitude) + 0.5f) - 0x3f000000u;  // the adder rounds
    uint32_t half = magnitude < 0x38800000u ? subnormal : normal;
    half = magnitude >= 0x477ff000u ? 0x7c00u : half;
    half = magnitude > 0x7f800000u ? 0x7e00u : half;
    out.raw = uint16_t(half | sign);
}

// exp(x) for |x| <= 87 (float) or 700 (double): 2^n exp(r) with |r| <= log(2) / 2, exp(r) by its Taylor series.
inline float exponential(float x) {
    const float shifted = x * 1.44269504f + 12582912.0f, n = shifted - 12582912.0f;
    const float r = (x - n * 0.693359375f) + n * 2.12194440e-4f;
    float p = 1.0f / 5040;
    p = p * r + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * bits<float>((bits<uint32_t>(shifted) << 23) + 0x3f800000u);
}

inline double exponential(double x) {
    const double shifted = x * 1.4426950408889634 + 6755399441055744.0, n = shifted - 6755399441055744.0;
    const double r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
    double p = 1.0 / 6227020800.0;
    p = p * r + 1.0 / 479001600.0;
    p = p * r + 1.0 / 39916800.0;
    p = p * r + 1.0 / 3628800.0;
    p = p * r + 1.0 / 362880.0;
    p = p * r + 1.0 / 40320.0;
    p = p * r + 1.0 / 5040.0;
    p = p * r + 1.0 / 720.0;
    p = p * r + 1.0 / 120.0;
    p = p * r + 1.0 / 24.0;
    p = p * r + 1.0 / 6.0;
    p = p * r + 0.5;
    p = p * r + 1.0;
    p = p * r + 1.0;
    return p * bits<double>((bits<uint64_t>(shifted) << 52) + 0x3ff0000000000000ull);
}

inline float limit(float x) { return x > 87.0f ? 87.0f : (x < -87.0f ? -87.0f : x); }
inline double limit(double x) { return x > 700.0 ? 700.0 : (x < -700.0 ? -700.0 : x); }

}  // namespace

extern "C" {

struct DiffgradRule {
    double lr, beta1, beta2, eps, weight_decay, grad_factor, gain, offset;
    int32_t decoupled, amsgrad, reference_eps, rectify, is_signed, relative;
};

struct DiffgradTensor {
    int64_t numel;
    void *param, *exp_avg, *exp_avg_sq, *previous_grad, *max_exp_avg_sq;
    const void* grad;
    float* step;
    double slope, shift;
    int64_t taken;
};

}  // extern "C"

namespace {

struct Scalars {
    double step_size, root, eps, friction_root, friction_eps, keep;
};

Scalars scalars(const DiffgradRule& rule, double step) {
    const double correction2 = 1 - std::pow(rule.beta2, step), root = 1 / std::sqrt(correction2);
    const double eps = rule.reference_eps ? rule.eps * root : rule.eps;
    Scalars s{rule.lr / (1 - std::pow(rule.beta1, step)), root, eps, root, eps, 1.0};
    if (rule.decoupled) s.keep = 1 - rule.lr * rule.weight_decay;
    if (!rule.rectify) return s;
    const double limit_rho = 2 / (1 - rule.beta2) - 1;
    const double rho = limit_rho - 2 * step * std::pow(rule.beta2, step) / correction2;
    if (rho > 5) {
        s.step_size *= std::sqrt((rho - 4) * (rho - 2) * limit_rho / ((limit_rho - 4) * (limit_rho - 2) * rho));
    } else {
        s.root = 0;
        s.eps = 1;
    }
    return s;
}

// T: stored type, Q: type of the previous gradient, C: type of the arithmetic.
template <class T, class Q, class C, bool Amsgrad, bool Relative, bool Store>
void update(const DiffgradRule& rule, const DiffgradTensor& tensor, const Scalars& s, int64_t begin, int64_t end) {
    T* __restrict param = static_cast<T*>(tensor.param);
    T* __restrict exp_avg = static_cast<T*>(tensor.exp_avg);
    T* __restrict exp_avg_sq = static_cast<T*>(tensor.exp_avg_sq);
    T* __restrict largest = static_cast<T*>(tensor.max_exp_avg_sq);
    Q* __restrict previous = static_cast<Q*>(tensor.previous_grad);
    const T* __restrict grad = static_cast<const T*>(tensor.grad);
    const C factor = C(rule.grad_factor), decay = rule.decoupled ? C(0) : C(rule.weight_decay), keep = C(s.keep);
    const C beta2 = C(rule.beta2), new1 = C(1 - rule.beta1), new2 = C(1 - rule.beta2);
    const C step_size = C(s.step_size), root = C(s.root), eps = C(s.eps);
    const C friction_root = C(s.friction_root), friction_eps = C(s.friction_eps);
    const C gain = C(rule.gain), offset = C(rule.offset), slope = C(tensor.slope), shift = C(tensor.shift);
    const bool is_signed = rule.is_signed != 0;
#pragma GCC ivdep
    for (int64_t i = begin; i < end; ++i) {
        const C p = widen(param[i]);
        const C g = widen(grad[i]) * factor + p * decay;
        C m = widen(exp_avg[i]), v = widen(exp_avg_sq[i]);
        m = m + (g - m) * new1;
        v = v * beta2 + g * g * new2;
        narrow(m, exp_avg[i]);
        narrow(v, exp_avg_sq[i]);
        if (Amsgrad) {
            const C old = widen(largest[i]);
            v = (old > v || old != old) ? old : v;
            narrow(v, largest[i]);
        }
        const C size = std::sqrt(v), denominator = size * root + eps;
        const C change = widen(previous[i]) - g;
        C difference = is_signed ? change : std::abs(change);
        if (Relative) difference = difference / (size * friction_root + friction_eps);
        const C e = exponential(limit(shift - slope * difference));
        const C friction_times = gain + offset * (C(1) + e);
        narrow(p * keep - step_size * m * friction_times / ((C(1) + e) * denominator), param[i]);
        if (Store) narrow(g, previous[i]);
    }
}

using Update = void (*)(const DiffgradRule&, const DiffgradTensor&, const Scalars&, int64_t, int64_t);

template <class T, class Q, class C, bool Amsgrad, bool Relative>
Update choose(bool store) {
    return store ? update<T, Q, C, Amsgrad, Relative, true> : update<T, Q, C, Amsgrad, Relative, false>;
}

Update choose(const DiffgradRule& rule, bool store) {
    using T = DIFFGRAD_PARAM;
    using Q = DIFFGRAD_PREVIOUS;
    using C = DIFFGRAD_MATH;
    if (rule.amsgrad) return rule.relative ? choose<T, Q, C, true, true>(store) : choose<T, Q, C, true, false>(store);
    return rule.relative ? choose<T, Q, C, false, true>(store) : choose<T, Q, C, false, false>(store);
}

constexpr int64_t smallest_share = 1 << 17;  // elements that are worth a thread
constexpr int64_t grain = 64;                // shares begin at multiples, so that no cache line has two writers

}  // namespace

extern "C" {

void diffgrad_step(int64_t count, const DiffgradTensor* tensors, const DiffgradRule* rule, int32_t threads) {
    const Update store = choose(*rule, true), keep = choose(*rule, false);
    std::vector<Scalars> prepared(count);
    std::vector<int64_t> starts(count + 1, 0);
    double known_step = -1;
    for (int64_t i = 0; i < count; ++i) {
        const double step = (*tensors[i].step += 1.0f);
        prepared[i] = step == known_step ? prepared[i - 1] : scalars(*rule, step);
        known_step = step;
        starts[i + 1] = starts[i] + tensors[i].numel;
    }
    const int64_t total = starts[count];
    auto share = [&](int64_t begin, int64_t end) {
        int64_t i = std::upper_bound(starts.begin(), starts.end(), begin) - starts.begin() - 1;
        for (; i < count && starts[i] < end; ++i) {
            const int64_t from = std::max(begin - starts[i], int64_t(0));
            const int64_t to = std::min(end - starts[i], tensors[i].numel);
            if (from < to) (tensors[i].taken ? keep : store)(*rule, tensors[i], prepared[i], from, to);
        }
    };
    const int64_t workers = std::max<int64_t>(1, std::min<int64_t>(threads, total / smallest_share));
    auto boundary = [&](int64_t k) { return k == workers ? total : total / workers * k / grain * grain; };
    std::vector<std::thread> helpers;
    int64_t handed = 1;
    try {
        for (; handed < workers; ++handed) helpers.emplace_back(share, boundary(handed), boundary(handed + 1));
    } catch (const std::system_error&) {
        // The system has no more threads: this one does the rest.
    }
    share(0, boundary(1));
    if (handed < workers) share(boundary(handed), total);
    for (auto& helper : helpers) helper.join();
}

}  // extern "C"
