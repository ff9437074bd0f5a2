import './app/styles/mantine.css'
import './app/styles/tokens.css'
import './app/styles/base.css'
import { MantineProvider } from '@mantine/core'
import { QueryClientProvider } from '@tanstack/react-query'
import { createRoot } from 'react-dom/client'
import { App } from './app/app.js'
import { theme } from './app/theme.js'
import { queryClient } from './data/query-client.js'

const root = document.getElementById('root')
if (!root) throw new Error('the page has no root')
createRoot(root).render(
  <QueryClientProvider client={queryClient}>
    {/* Variables and classes come with the style sheet: the page's policy forbids inline styles. */}
    <MantineProvider theme={theme} defaultColorScheme="auto" withCssVariables={false} withGlobalClasses={false}>
      <App />
    </MantineProvider>
  </QueryClientProvider>,
)
