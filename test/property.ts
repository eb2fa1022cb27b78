import fc from 'fast-check'

/**
 * Property tests use the same values in every run, so that only a change can make one fail. To search with another
 * seed: STABLEQUEUE_TEST_SEED=$RANDOM npm test
 */
fc.configureGlobal({ seed: Number(process.env.STABLEQUEUE_TEST_SEED ?? 20_261_121) })

export default fc
