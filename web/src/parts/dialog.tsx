import { Modal } from '@mantine/core'
import type { ReactNode } from 'react'
import './dialog.css'

/** A dialog. The library's lock of the scroll would need inline styles, which the page's policy forbids. */
export function Dialog({
  title,
  opened,
  onClose,
  wide = false,
  children,
}: {
  title: string
  opened: boolean
  onClose: () => void
  wide?: boolean
  children: ReactNode
}) {
  return (
    <Modal
      opened={opened}
      onClose={onClose}
      title={title}
      size={wide ? 'lg' : 'md'}
      lockScroll={false}
      closeButtonProps={{ 'aria-label': 'Close' }}
      transitionProps={{ duration: 80 }}
    >
      <div className="dialog">{children}</div>
    </Modal>
  )
}
