import { Button, PasswordInput } from '@mantine/core'
import { type FormEvent, useEffect, useState } from 'react'
import { signIn } from '../data/session.js'
import { SchemeButton } from './person.js'
import './sign-in.css'

/** Asks for the admin token or a user's key. `notice`: why an earlier session has ended. */
export function SignIn({ notice }: { notice?: string | undefined }) {
  const [key, setKey] = useState('')
  const [problem, setProblem] = useState<string>()
  const [isBusy, setBusy] = useState(false)
  useEffect(() => {
    document.title = 'Sign in · aibridge'
  }, [])
  const submit = async (event: FormEvent): Promise<void> => {
    event.preventDefault()
    if (key.trim() === '') return setProblem('Paste the admin token or a key first.')
    setBusy(true)
    setProblem(undefined)
    const rejection = await signIn(key.trim())
    setBusy(false)
    setProblem(rejection)
  }
  return (
    <main className="sign-in">
      <form className="sign-in-card" onSubmit={submit}>
        <h1>Sign in to aibridge</h1>
        {notice && <p className="sign-in-notice">{notice}</p>}
        <PasswordInput
          size="sm"
          label="Admin token or key"
          description="Operators use the admin token of the server. Users use a key of their own."
          value={key}
          error={problem}
          onChange={event => setKey(event.currentTarget.value)}
          autoComplete="current-password"
          autoFocus
          visibilityToggleButtonProps={{ 'aria-label': 'Show the key' }}
        />
        <Button type="submit" size="sm" loading={isBusy} fullWidth>
          Sign in
        </Button>
        <p className="dim">
          The admin token is in the file <code>admin-token</code> of the server’s data directory, or in{' '}
          <code>BRIDGE_ADMIN_TOKEN</code>.
        </p>
        <SchemeButton />
      </form>
    </main>
  )
}
