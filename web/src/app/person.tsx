import { ActionIcon, useMantineColorScheme } from '@mantine/core'
import { notify } from '../data/notices.js'
import { signOut, useSession } from '../data/session.js'
import { Icon } from '../parts/icons.js'

/** Who is signed in, the switch between light and dark, and the way out. */
export function Person() {
  const { username, role } = useSession()
  return (
    <div className="person">
      <div className="person-name">
        <div className="cut" title={username}>
          {username}
        </div>
        <div className="person-role">{role === 'admin' ? 'Operator' : 'User'}</div>
      </div>
      <SchemeButton />
      <ActionIcon
        aria-label="Sign out"
        title="Sign out"
        onClick={() => signOut().catch((error: Error) => notify('bad', error.message))}
      >
        <Icon name="exit" />
      </ActionIcon>
    </div>
  )
}

/** Changes between light and dark; the page begins as the system is set. */
export function SchemeButton() {
  const { colorScheme, setColorScheme } = useMantineColorScheme()
  const isDark =
    colorScheme === 'dark' || (colorScheme === 'auto' && window.matchMedia('(prefers-color-scheme: dark)').matches)
  const label = isDark ? 'Light colours' : 'Dark colours'
  return (
    <ActionIcon aria-label={label} title={label} onClick={() => setColorScheme(isDark ? 'light' : 'dark')}>
      <Icon name={isDark ? 'sun' : 'moon'} />
    </ActionIcon>
  )
}
