import { dismiss, useNotices } from '../data/notices.js'
import { Icon } from '../parts/icons.js'

/** The messages of the page, read aloud as they come. */
export function Notices() {
  const notices = useNotices()
  return (
    <div className="notices" role="status">
      {notices.map(({ id, tone, text }) => (
        <div key={id} className={tone === 'bad' ? 'notice notice-bad' : 'notice'}>
          <span className="notice-text">{text}</span>
          <button type="button" aria-label="Dismiss" onClick={() => dismiss(id)}>
            <Icon name="close" size={12} />
          </button>
        </div>
      ))}
    </div>
  )
}
