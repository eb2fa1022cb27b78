import { main } from '../../src/main/cli.ts'

// The product's own command line, without the look at dependencies and build that `npm start` begins with.
await main(process.argv.slice(2))
