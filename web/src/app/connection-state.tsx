import { useEffect, useState } from 'react'
import { useConnectionState } from '../data/client.js'
import { Icon } from '../parts/icons.js'

/** A first connection, and one that is mended at once, need no words. */
const patienceMs = 1_200

/** Says that the connection is lost; goes when it is mended. */
export function ConnectionState() {
  const isOpen = useConnectionState() === 'open'
  const [isLong, setLong] = useState(false)
  useEffect(() => {
    setLong(false)
    if (isOpen) return
    const timer = setTimeout(() => setLong(true), patienceMs)
    return () => clearTimeout(timer)
  }, [isOpen])
  return (
    <div role="status">
      {!isOpen && isLong && (
        <div className="connection">
          <Icon name="warning" size={14} />
          Connection lost. Connecting again; what you see may be out of date.
        </div>
      )}
    </div>
  )
}
