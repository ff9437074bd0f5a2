/** The server of one row, in a process of its own: sends its URL to the parent, then its heap whenever it is asked. */
import { heapInUse } from './heap.js'
import { allRows } from './rows/all.js'
import { Service } from './rows/service.js'

const [name] = process.argv.slice(2)
const named = async (peers: boolean) => (await allRows({ peers })).find(row => row.name === name)
const row = (await named(false)) ?? (await named(true))
if (!row?.ends) throw new Error(`no row with a server is called ${name}`)
const { url } = await row.ends.serve(new Service())
process.on('message', async () => process.send?.(await heapInUse()))
process.on('disconnect', () => process.exit())
process.send?.(url)
