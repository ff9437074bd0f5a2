import { Button } from '@mantine/core'
import { type ReactNode, useState } from 'react'
import { Dialog } from './dialog.js'

/** Properties of {@link ConfirmButton}. */
export interface ConfirmProps {
  label: string
  title: string
  /** what happens, and whether it can be undone */
  children: ReactNode
  confirm: string
  onConfirm: () => void
  variant?: string
  disabled?: boolean
}

/** A button for a write that cannot be undone: asks before it acts. */
export function ConfirmButton({
  label,
  title,
  children,
  confirm,
  onConfirm,
  variant = 'default',
  disabled = false,
}: ConfirmProps) {
  const [opened, setOpened] = useState(false)
  const act = (): void => {
    setOpened(false)
    onConfirm()
  }
  return (
    <>
      <Button variant={variant} disabled={disabled} onClick={() => setOpened(true)}>
        {label}
      </Button>
      <Dialog title={title} opened={opened} onClose={() => setOpened(false)}>
        <div>{children}</div>
        <div className="dialog-actions">
          <Button variant="default" onClick={() => setOpened(false)} data-autofocus>
            Cancel
          </Button>
          <Button color="red" onClick={act}>
            {confirm}
          </Button>
        </div>
      </Dialog>
    </>
  )
}
