import { resolve } from 'node:path'

/** The folder of the built page. */
export const pageFolder = resolve('dist/web')
