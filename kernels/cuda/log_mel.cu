// The log-Mel-spectrogram: eq. 1 and 2 in one pass, a block a frame, the values of scratchnet.sound.log_melspectrogram.
//
// The spectrum is computed in float64, as on the CPU: in float32 the rounding of a loud bin would show 80 dB under it.
// A power of two goes through an FFT in shared memory; any other length is summed as eq. 1 is written.
#include "reduce.cuh"

// Sample i of a signal of n that is mirrored at both ends (the end itself once), as numpy.pad's "reflect".
__device__ __forceinline__ index_t reflect(index_t i, index_t n) {
    if (n == 1) return 0;
    const index_t period = 2 * (n - 1);
    i = (i % period + period) % period;
    return i < n ? i : period - i;
}

// x (rows, n) → db (rows, n_mels, frames) = 10 · log10(max(power spectrum · triangle, amin)). Block b: frame b % frames of row
// b / frames. `scratch` (blocks, 2 n_fft + bins) takes the place of shared memory where n_fft is too large for that.
extern "C" __global__ void log_mel(const real* __restrict__ x, const double* __restrict__ window,  // (n_fft,)
                                   const double* __restrict__ circle,                              // (n_fft, 2): cos, −sin of 2πi/n_fft
                                   const float* __restrict__ triangles,                            // (n_mels, bins)
                                   const index_t* __restrict__ support,                            // (n_mels, 2): where each is not 0
                                   real* __restrict__ db, double* scratch, index_t n, index_t frames, index_t n_fft,
                                   index_t hop_length, index_t pad, index_t n_mels, double amin,
                                   int log2_n_fft) {  // −1 where n_fft is no power of two
    SHARED_MEMORY(memory);
    const index_t frame = blockIdx.x % frames, row = blockIdx.x / frames, bins = n_fft / 2 + 1;
    double* re = scratch == nullptr ? reinterpret_cast<double*>(memory) : scratch + blockIdx.x * (2 * n_fft + bins);  // [n_fft]
    double* im = re + n_fft;                         // [n_fft]
    double* power = im + n_fft;                      // [bins]

    for (index_t i = threadIdx.x; i < n_fft; i += blockDim.x) {
        const double sample = (double)x[row * n + reflect(frame * hop_length + i - pad, n)] * window[i];
        const index_t place = log2_n_fft < 1 ? i : (index_t)(__brev((unsigned)i) >> (32 - log2_n_fft));
        re[place] = sample;
        im[place] = 0;
    }
    __syncthreads();
    for (index_t half = 1; log2_n_fft > 0 && half < n_fft; half *= 2) {  // Cooley and Tukey's butterflies, in place
        for (index_t i = threadIdx.x; i < n_fft / 2; i += blockDim.x) {
            const index_t a = i / half * 2 * half + i % half, b = a + half, turn = i % half * (n_fft / 2 / half);
            const double c = circle[2 * turn], s = circle[2 * turn + 1];
            const double re_b = re[b] * c - im[b] * s, im_b = re[b] * s + im[b] * c;
            re[b] = re[a] - re_b, im[b] = im[a] - im_b;
            re[a] += re_b, im[a] += im_b;
        }
        __syncthreads();
    }
    for (index_t k = threadIdx.x; k < bins; k += blockDim.x) {
        double sum_re = re[k], sum_im = im[k];
        if (log2_n_fft < 0) {
            sum_re = sum_im = 0;
            for (index_t i = 0; i < n_fft; i++) {
                const index_t turn = i * k % n_fft;
                sum_re += re[i] * circle[2 * turn], sum_im += re[i] * circle[2 * turn + 1];
            }
        }
        power[k] = sum_re * sum_re + sum_im * sum_im;
    }
    __syncthreads();
    const int lane = threadIdx.x % 32;
    for (index_t mel = threadIdx.x / 32; mel < n_mels; mel += blockDim.x / 32) {  // a warp a triangle
        double sum = 0;
        for (index_t k = support[2 * mel] + lane; k < support[2 * mel + 1]; k += 32) sum += power[k] * (double)triangles[mel * bins + k];
        sum = warp_sum(sum);
        if (lane == 0) db[(row * n_mels + mel) * frames + frame] = (real)(10 * log10(sum <= amin ? amin : sum));
    }
}

// Lift what lies more than top_db under a row's maximum. One block a row of `size` values.
extern "C" __global__ void floor_under_peak(real* __restrict__ db, index_t size, real top_db) {
    SHARED_ARRAY(real, part, 32);
    real* mine = db + blockIdx.x * size;
    real peak = mine[0];
    for (index_t i = threadIdx.x; i < size; i += blockDim.x) peak = larger(peak, mine[i]);
    peak = warp_max(peak);
    if (threadIdx.x % 32 == 0) part[threadIdx.x / 32] = peak;
    __syncthreads();  // and nobody has written yet
    for (int warp = 0; warp < (int)blockDim.x / 32; warp++) peak = larger(peak, part[warp]);
    const real least = peak - top_db;
    for (index_t i = threadIdx.x; i < size; i += blockDim.x)
        if (!(mine[i] >= least)) mine[i] = least;  // a row with NaN is NaN, as its maximum
}
